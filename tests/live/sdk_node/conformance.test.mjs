// The conformance cases with OpenAI's SDK for Node. The gateways are started by tests/live/test_openai_node.py.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, describe, test } from "node:test";

import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const targets = JSON.parse(process.env.CONFORMANCE_TARGETS);
const ask = [
  { role: "system", content: "You are terse." },
  { role: "user", content: "Where does the river end?" },
];
const Place = z.object({ name: z.string(), population: z.number().int(), rivers: z.array(z.string()) });
const weather = {
  type: "function",
  function: {
    name: "weather",
    parameters: { type: "object", properties: { town: { type: "string" }, days: { type: "integer" } }, required: ["town"] },
  },
};
const long = { messages: ask, max_tokens: 5000, stream: true, ignore_eos: true };

for (const target of targets) {
  describe(`${target.engine}: ${target.model}`, () => cases(target));
}

function cases({ engine, base_url: baseURL, api_key: apiKey, model, origin, origin_key: originKey }) {
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 30_000 });
  const root = baseURL.replace(/\/v1$/, "");
  const create = (body, options) => client.chat.completions.create({ model, messages: ask, ...body }, options);
  const guest = async (fields, options = {}) => {
    const key = await control(root, apiKey, "POST", "/api/keys", { name: "node", ...fields });
    return [client.withOptions({ apiKey: key.secret, ...options }), key];
  };
  const idle = async () => {
    const { data } = await control(origin, originKey, "GET", "/api/workers");
    return data.every((worker) => worker.in_flight === 0 && worker.load.running === 0);
  };

  test("an answer", async () => {
    const answer = await create({ max_completion_tokens: 12 });
    assert.match(answer.id, /^chatcmpl-/);
    assert.deepEqual([answer.object, answer.model, answer.service_tier], ["chat.completion", model, "default"]);
    assert.equal(answer.choices[0].finish_reason, "length");
    assert.equal(answer.usage.completion_tokens, 12);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + 12);
  });

  test("a stream has the same text and no usage that nobody asked for", async () => {
    const whole = await create({ seed: 1 });
    const chunks = await collect(await create({ seed: 1, stream: true }));
    assert.equal(text(chunks), whole.choices[0].message.content);
    assert.equal(new Set(chunks.map((chunk) => `${chunk.id} ${chunk.created} ${chunk.model}`)).size, 1);
    assert.equal(chunks[0].choices[0].delta.role, "assistant");
    assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
    assert.ok(chunks.every((chunk) => !("usage" in chunk)));
  });

  test("a stream reports usage when asked", async () => {
    const chunks = await collect(await create({ max_tokens: 9, stream: true, stream_options: { include_usage: true } }));
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.completion_tokens, 9);
    assert.ok(chunks.every((chunk) => chunk.usage === null));
  });

  test("several choices, stop texts, seeds and logprobs", async () => {
    const several = await create({ n: 3, max_tokens: 6 });
    assert.deepEqual(several.choices.map((choice) => choice.index), [0, 1, 2]);
    const whole = (await create({})).choices[0].message.content;
    const word = whole.split(" ")[4];
    assert.equal((await create({ stop: [word] })).choices[0].message.content, whole.slice(0, whole.indexOf(word)));
    const [one, same, other] = await Promise.all([7, 7, 8].map((seed) => create({ seed, max_tokens: 12 })));
    assert.deepEqual(one.choices, same.choices);
    assert.notDeepEqual(one.choices, other.choices);
    const [probable] = (await create({ logprobs: true, top_logprobs: 3, max_tokens: 5 })).choices;
    assert.equal(probable.logprobs.content.map((each) => each.token).join(""), probable.message.content);
    assert.equal(probable.logprobs.content[0].top_logprobs.length, 3);
  });

  test("a tool call, whole and streamed", async () => {
    const { message, finish_reason } = (await create({ tools: [weather] })).choices[0];
    assert.equal(finish_reason, "tool_calls");
    assert.equal(typeof JSON.parse(message.tool_calls[0].function.arguments).town, "string");
    const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "sunny" };
    assert.equal((await create({ messages: [...ask, message, result], tools: [weather] })).choices[0].finish_reason, "stop");
    const pieces = (await collect(await create({ tools: [weather], stream: true }))).flatMap((chunk) => chunk.choices[0].delta.tool_calls ?? []);
    assert.equal(pieces[0].function.name, "weather");
    assert.ok(JSON.parse(pieces.map((piece) => piece.function.arguments ?? "").join("")).town);
  });

  test("the stream helper", async () => {
    const deltas = [];
    const stream = client.chat.completions.stream({ model, messages: ask, response_format: zodResponseFormat(Place, "place") });
    stream.on("content.delta", ({ delta }) => deltas.push(delta));
    const final = await stream.finalChatCompletion();
    Place.parse(final.choices[0].message.parsed);
    assert.equal(deltas.join(""), final.choices[0].message.content);
    const calling = client.chat.completions.stream({ model, messages: ask, tools: [zodFunction({ name: "place", parameters: Place })] });
    Place.parse((await calling.finalChatCompletion()).choices[0].message.tool_calls[0].function.parsed_arguments);
  });

  test("the helper that runs tools", async () => {
    const called = [];
    const runner = client.chat.completions.runTools({
      model,
      messages: ask,
      tools: [zodFunction({ name: "place", parameters: Place, function: (place) => (called.push(place), "a town") })],
    });
    assert.ok(await runner.finalContent());
    Place.parse(called[0]);
  });

  test("parse gives a value of the schema", async () => {
    const answer = await client.chat.completions.parse({ model, messages: ask, response_format: zodResponseFormat(Place, "place") });
    Place.parse(answer.choices[0].message.parsed);
  });

  test("every field of the SDK is accepted, unknown ones pass through", async () => {
    const fields = { metadata: { project: "dam" }, store: false, user: "u", reasoning_effort: "low", prompt_cache_key: "k", safety_identifier: "s" };
    const answer = await create({ ...fields, response_format: { type: "json_object" }, nobody_knows_this: [1, null] });
    assert.equal(typeof JSON.parse(answer.choices[0].message.content), "object");
    assert.equal((await create({ max_tokens: 70, ignore_eos: true })).usage.completion_tokens, 70);
  });

  test("a long text in every script", async () => {
    const content = "naïve 😀 漢字 \u202e العربية \u0000 \u{1F468}\u200d\u{1F469}\u200d\u{1F467} ".repeat(300);
    const { usage } = await create({ messages: [{ role: "user", content }], max_tokens: 1 });
    assert.ok(usage.prompt_tokens > 3_000);
  });

  test("legacy completions", async () => {
    const whole = await client.completions.create({ model, prompt: "The river", max_tokens: 8 });
    const chunks = await collect(await client.completions.create({ model, prompt: "The river", max_tokens: 8, stream: true }));
    assert.equal(chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.text).join(""), whole.choices[0].text);
  });

  test("embeddings are the same in both encodings", async () => {
    const body = { model, input: ["the river", "the dam"], dimensions: 16 };
    const usual = await client.embeddings.create(body); // the SDK asks for base64 and unpacks it
    const floats = await client.embeddings.create({ ...body, encoding_format: "float" });
    const packed = await client.embeddings.create({ ...body, encoding_format: "base64" });
    assert.equal(typeof packed.data[0].embedding, "string");
    usual.data.forEach(({ embedding }, at) => {
      assert.equal(embedding.length, 16);
      embedding.forEach((value, position) => assert.ok(Math.abs(value - floats.data[at].embedding[position]) < 1e-6));
    });
    assert.deepEqual(usual.usage, floats.usage);
  });

  test("models", async () => {
    const ids = [];
    for await (const each of client.models.list()) ids.push(each.id);
    assert.ok(ids.includes(model));
    assert.equal((await client.models.retrieve(model)).id, model);
    await assert.rejects(client.models.retrieve("no/such-model"), failure(OpenAI.NotFoundError, { code: "model_not_found", param: "model" }));
  });

  test("tiers", async () => {
    for (const [asked, served] of [["auto", "default"], ["priority", "priority"], ["flex", "flex"]]) {
      assert.equal((await create({ max_tokens: 2, service_tier: asked })).service_tier, served);
    }
    await assert.rejects(create({ service_tier: "turbo" }), failure(OpenAI.BadRequestError, { param: "service_tier" }));
  });

  test("headers and the request's id", async () => {
    const { data, response } = await create({ max_tokens: 2 }, { headers: { "X-Request-ID": "my.trace-1_a" } }).withResponse();
    assert.equal(data._request_id, "my.trace-1_a");
    for (const name of ["limit-requests", "remaining-requests", "limit-tokens", "remaining-tokens"]) {
      assert.ok(Number(response.headers.get(`x-ratelimit-${name}`)) >= 0);
    }
    assert.match(response.headers.get("x-ratelimit-reset-tokens"), /^(\d+h)?(\d+m)?(\d+(\.\d+)?(s|ms))?$/);
    assert.ok(response.headers.get("x-penstock-worker"));
  });

  test("a repeated request gets the first answer", async () => {
    const options = { idempotencyKey: randomUUID(), headers: {} };
    options.headers["Idempotency-Key"] = options.idempotencyKey;
    const first = await create({ max_tokens: 8 }, options);
    const { data, response } = await create({ max_tokens: 8 }, options).withResponse();
    assert.equal(response.headers.get("idempotent-replayed"), "true");
    assert.deepEqual([data.id, data.choices], [first.id, first.choices]);
    await assert.rejects(create({ max_tokens: 9 }, { ...options, maxRetries: 2 }), failure(OpenAI.ConflictError, { code: "idempotency_conflict" }));
  });

  test("errors by class", async () => {
    const refused = failure(OpenAI.AuthenticationError, { code: "invalid_api_key" });
    await assert.rejects(client.withOptions({ apiKey: "sk-nothing-of-ours" }).models.list(), refused);
    const [revoked, key] = await guest({});
    await control(root, apiKey, "DELETE", `/api/keys/${key.id}`);
    await assert.rejects(revoked.chat.completions.create({ model, messages: ask }), refused);
    await assert.rejects(create({ model: "no/such-model", stream: true }), failure(OpenAI.NotFoundError, { code: "model_not_found", param: "model" }));
    await assert.rejects(create({ max_tokens: -1 }), failure(OpenAI.BadRequestError, { param: "max_tokens" }));
    await assert.rejects(create({ max_tokens: 1_000_000 }), failure(OpenAI.BadRequestError, { code: "context_length_exceeded" }));
    const [reader] = await guest({ scopes: ["usage:read"] });
    await assert.rejects(reader.chat.completions.create({ model, messages: ask }), failure(OpenAI.PermissionDeniedError, { code: "permission_denied" }));
  });

  test("a rate limit and the SDK's own retry", async () => {
    const [limited] = await guest({ requests_per_minute: 60 });
    const embed = (client) => client.embeddings.create({ model, input: "x", dimensions: 1 });
    const knock = async () => {
      for (let at = 0; at < 120; at++) await embed(limited);
    };
    await assert.rejects(knock(), (error) => {
      failure(OpenAI.RateLimitError, { code: "rate_limit_exceeded" })(error);
      assert.equal(error.headers.get("retry-after"), "1");
      return true;
    });
    await embed(limited.withOptions({ maxRetries: 2 }));
    const [small] = await guest({ tokens_per_minute: 50 }, { maxRetries: 5 });
    await assert.rejects(small.chat.completions.create({ model, messages: ask, max_tokens: 100 }), (error) => {
      assert.equal(error.headers.get("x-should-retry"), "false");
      return error instanceof OpenAI.RateLimitError;
    });
  });

  test("leaving a stream stops the worker and is recorded", async () => {
    const { data: stream, response } = await create(long).withResponse();
    let received = 0;
    for await (const chunk of stream) {
      received += chunk.choices[0].delta.content ? 1 : 0;
      if (received === 5) break; // the SDK closes the connection
    }
    await eventually(idle, 2500);
    const id = response.headers.get("x-request-id");
    const record = await eventually(async () => {
      const { data } = await control(root, apiKey, "GET", "/api/usage/records?limit=100");
      return data.find((line) => line.request_id === id);
    }, 5000);
    assert.equal(record.outcome, "client_left");
    assert.ok(record.completion_tokens >= 5 && record.completion_tokens < 5000);
    assert.equal(record.estimated, engine !== "sim");
  });

  test("a stream that breaks raises", { skip: engine !== "sim" }, async () => {
    const broken = async () => collect(await create({ ...long, model: "acme/glass" }));
    await assert.rejects(broken(), failure(OpenAI.APIError, { code: "upstream_error", type: "server_error" }));
  });

  test("fifty streams at once", async () => {
    const told = await Promise.all(
      Array.from({ length: 50 }, async (_, number) => text(await collect(await create({ messages: [{ role: "user", content: `Story ${number}` }], max_tokens: 12, stream: true })))),
    );
    assert.equal(new Set(told).size, 50);
  });

  test("responses: whole, streamed, continued, in the background", async () => {
    const first = await client.responses.create({ model, input: "Where does the river end?", max_output_tokens: 12 });
    assert.match(first.id, /^resp_/);
    assert.ok(first.output_text.length > 0);
    const stream = client.responses.stream({ model, input: "And then?", previous_response_id: first.id });
    let said = "";
    stream.on("response.output_text.delta", ({ delta }) => (said += delta));
    const final = await stream.finalResponse();
    assert.equal(final.output_text, said);
    assert.ok(final.usage.input_tokens > first.usage.input_tokens);
    assert.equal((await client.responses.retrieve(final.id)).output_text, said);
    const items = await collect(await client.responses.inputItems.list(final.id));
    assert.deepEqual(items.map((item) => item.content[0].text), ["And then?"]);
    const asked = await client.responses.create({ model, input: "Later.", background: true, max_output_tokens: 5 });
    const over = async () => {
      const answer = await client.responses.retrieve(asked.id);
      return !["queued", "in_progress"].includes(answer.status) && answer;
    };
    assert.ok((await eventually(over, 20_000)).output_text.length > 0);
    await client.responses.delete(first.id);
    await assert.rejects(client.responses.retrieve(first.id), failure(OpenAI.NotFoundError, { status: 404 }));
  });

  test("a file becomes a batch, and its answers a file", async () => {
    const line = (id, body) => JSON.stringify({ custom_id: id, method: "POST", url: "/v1/chat/completions", body });
    const lines = [1, 2, 3].map((number) => line(`good-${number}`, { model, messages: ask, max_tokens: 3 }));
    const content = [...lines, line("bad", { model })].join("\n");
    const file = await client.files.create({ file: new File([content], "lines.jsonl"), purpose: "batch" });
    assert.deepEqual([file.bytes, file.filename, file.purpose], [content.length, "lines.jsonl", "batch"]);
    const made = await client.batches.create({ input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" });
    const over = async () => {
      const batch = await client.batches.retrieve(made.id);
      return batch.status === "completed" && batch;
    };
    const batch = await eventually(over, 30_000);
    assert.deepEqual(batch.request_counts, { total: 4, completed: 3, failed: 1 });
    const read = async (id) => (await (await client.files.content(id)).text()).trim().split("\n").map((each) => JSON.parse(each));
    assert.deepEqual((await read(batch.output_file_id)).map((each) => each.custom_id).sort(), ["good-1", "good-2", "good-3"]);
    assert.deepEqual((await read(batch.error_file_id)).map((each) => each.response.status_code), [400]);
    await client.files.delete(file.id);
  });

  after(() => eventually(idle, 2500));
}

async function control(root, key, method, path, body) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const response = await fetch(root + path, { method, headers, body: body && JSON.stringify(body) });
  const answer = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${answer}`);
  return answer && JSON.parse(answer);
}

function failure(kind, fields) {
  return (error) => {
    assert.ok(error instanceof kind, `${error}`);
    for (const [name, value] of Object.entries(fields)) assert.equal(error[name], value);
    return true;
  };
}

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

function text(chunks) {
  return chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.delta.content ?? "").join("");
}

// Other processes send no signal that a test could wait for, so it asks again and again.
async function eventually(probe, milliseconds) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    assert.ok(Date.now() < deadline, "it did not happen");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
