"""The Responses API through the whole gateway: limits, metering and errors are those of chat completions."""

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from penstock.domain.durable.responses import StoredResponse
from penstock.domain.errors import PortUnavailable
from penstock.domain.ports import Store
from tests.support.gateway import MODEL, Client, event, reply, request, token_event, well
from tests.support.gateway_with_runner import GatewayWithRunner, gateway_with_runner
from tests.support.waiting import until


async def test_an_answer_is_metered_as_a_chat_completion(running_gateway: GatewayWithRunner) -> None:
    raw = await running_gateway.client.responses.with_raw_response.create(model=MODEL, input="hello", max_output_tokens=9)
    answer = raw.parse()
    assert (answer.output_text, answer.status, answer.service_tier) == ("well", "completed", "default")
    assert running_gateway.server.requests[-1].json == {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 9}
    (record,) = await running_gateway.platform.records()
    assert (record.operation, record.prompt_tokens, record.completion_tokens, record.request_id) == (
        "chat",
        3,
        1,
        raw.headers["x-request-id"],
    )
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 1)
    assert raw.headers["x-ratelimit-remaining-requests"]
    assert raw.headers["x-penstock-decision"].startswith(record.request_id)


async def test_previous_response_continues_the_conversation(running_gateway: GatewayWithRunner) -> None:
    responses = running_gateway.client.responses
    first = await responses.create(model=MODEL, input="one", instructions="be kind")
    second = await responses.create(model=MODEL, input=[{"role": "user", "content": "two"}], previous_response_id=first.id)
    await responses.create(model=MODEL, input="three", previous_response_id=second.id, instructions="be brief", store=False)
    assert [(message["role"], message["content"]) for message in running_gateway.server.requests[-1].json["messages"]] == [
        ("system", "be brief"),
        ("user", "one"),
        ("assistant", "well"),
        ("user", "two"),
        ("assistant", "well"),
        ("user", "three"),
    ]
    await responses.delete(first.id)
    with pytest.raises(openai.BadRequestError) as raised:
        await responses.create(model=MODEL, input="three", previous_response_id=second.id)
    assert raised.value.param == "previous_response_id"


async def test_conversation_beyond_the_limit_of_a_body_is_413_and_reaches_no_worker(tmp_path: Path) -> None:
    async with gateway_with_runner(tmp_path, runs=False, http={"max_body_bytes": 20_000}) as running_gateway:
        responses, text = running_gateway.client.responses, "x" * 8_000
        first = await responses.create(model=MODEL, input=text)
        second = await responses.create(model=MODEL, input=text, previous_response_id=first.id)
        served = len(running_gateway.server.requests)
        for own, previous in ((text, second), ("x" * 18_000, first)):
            for stream in (False, True):
                with pytest.raises(openai.APIStatusError) as raised:
                    await responses.create(model=MODEL, input=own, previous_response_id=previous.id, stream=stream)
                assert (raised.value.status_code, raised.value.code) == (413, "request_too_large")
                assert (raised.value.param, raised.value.response.headers["x-should-retry"]) == ("previous_response_id", "false")
        third = await responses.create(model=MODEL, input=[{"role": "user", "content": "and?"}], previous_response_id=second.id)
        with pytest.raises(openai.APIStatusError) as raised:
            await responses.create(model=MODEL, input="x" * 6_000, previous_response_id=third.id, background=True)
        assert (raised.value.status_code, raised.value.param) == (413, "previous_response_id")
        assert len(running_gateway.server.requests) == served + 1


async def test_item_reference_stands_for_the_item(running_gateway: GatewayWithRunner) -> None:
    """As the AI SDK sends the turns of a chat whose answers are stored."""
    responses = running_gateway.client.responses
    first = await responses.create(model=MODEL, input="one")
    given: Any = [
        {"role": "user", "content": "one"},
        {"type": "item_reference", "id": first.output[0].id},
        {"role": "user", "content": "two"},
    ]
    second = await responses.create(model=MODEL, input=given)
    asked = [(message["role"], message["content"]) for message in running_gateway.server.requests[-1].json["messages"]]
    assert asked == [("user", "one"), ("assistant", "well"), ("user", "two")]
    kept = [item async for item in responses.input_items.list(second.id, order="asc")]
    assert [(item.type, item.id == first.output[0].id) for item in kept] == [("message", False), ("message", True), ("message", False)]
    by_id: Any = [{"id": kept[0].id}, {"id": second.output[0].id}]
    await responses.create(model=MODEL, input=by_id)
    assert [message["content"] for message in running_gateway.server.requests[-1].json["messages"]] == ["one", "well"]
    await responses.delete(first.id)
    for unknown in (first.output[0].id, "msg_made_up", f"{second.output[0].id}9"):
        gone: Any = [{"role": "user", "content": "x"}, {"type": "item_reference", "id": unknown}]
        with pytest.raises(openai.BadRequestError) as raised:
            await responses.create(model=MODEL, input=gone)
        assert raised.value.param == "input[1].id"


async def test_content_in_parts_of_an_engine_ends_well_in_a_stream(running_gateway: GatewayWithRunner) -> None:
    async def thinks(client: Client) -> None:
        await client.begin_stream()
        parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Four."}]
        await client.chunk(event({"id": "c", "choices": [{"index": 0, "delta": {"content": parts}, "finish_reason": "stop"}]}))
        await client.chunk(b"data: [DONE]\n\n")
        await client.end_stream()

    running_gateway.server.script = thinks
    stream = await running_gateway.client.responses.create(model=MODEL, input="x", stream=True)
    last = [one async for one in stream][-1]
    assert last.type == "response.completed"
    assert (last.response.output_text, [item.type for item in last.response.output]) == ("Four.", ["reasoning", "message"])


async def test_unreadable_answer_of_an_engine_is_a_failed_response(running_gateway: GatewayWithRunner) -> None:
    async def odd(client: Client) -> None:
        choice = {"index": 0, "delta": {"tool_calls": ["x"]}, "message": {"tool_calls": ["x"]}, "finish_reason": "stop"}
        body = json.dumps({"id": "c", "choices": [choice]}).encode()
        if client.json.get("stream"):
            await client.begin_stream()
            await client.chunk(b"data: " + body + b"\n\ndata: [DONE]\n\n")
            await client.end_stream()
        else:
            await client.answer(200, body)

    running_gateway.server.script = odd
    stream = await running_gateway.client.responses.create(model=MODEL, input="x", stream=True)
    assert [one.type async for one in stream][-1] == "response.failed"
    whole = await running_gateway.client.responses.create(model=MODEL, input="x")
    assert whole.status == "failed"


async def test_stored_response_can_be_read_and_deleted(running_gateway: GatewayWithRunner) -> None:
    responses = running_gateway.client.responses
    made = await responses.create(model=MODEL, input=[{"role": "user", "content": f"{number}"} for number in range(5)], metadata={"a": "b"})
    assert await responses.retrieve(made.id) == made
    pages = responses.input_items.list(made.id, limit=2, order="asc")
    shown: list[Any] = [item async for item in pages]
    assert [item.content[0].text for item in shown] == ["0", "1", "2", "3", "4"]
    backwards: list[Any] = [item async for item in responses.input_items.list(made.id, limit=3)]
    assert [item.content[0].text for item in backwards] == ["4", "3", "2", "1", "0"]
    with pytest.raises(openai.BadRequestError):
        await responses.cancel(made.id)
    await responses.delete(made.id)
    for gone in (responses.retrieve(made.id), responses.delete(made.id), responses.cancel(made.id)):
        with pytest.raises(openai.NotFoundError):
            await gone


async def test_response_with_store_false_is_not_kept(running_gateway: GatewayWithRunner) -> None:
    made = await running_gateway.client.responses.create(model=MODEL, input="hello", store=False)
    with pytest.raises(openai.NotFoundError):
        await running_gateway.client.responses.retrieve(made.id)


async def test_streamed_response_has_every_event_and_is_kept(running_gateway: GatewayWithRunner) -> None:
    async with running_gateway.client.responses.stream(model=MODEL, input="hello") as stream:
        kinds = [each.type async for each in stream]
        final = await stream.get_final_response()
    assert (kinds[0], kinds[-1], kinds.count("response.output_text.delta")) == ("response.created", "response.completed", 5)
    assert final.output_text == "t0 t1 t2 t3 t4 "
    kept = await running_gateway.client.responses.retrieve(final.id)
    assert (kept.output_text, kept.usage) == (final.output_text, final.usage)
    (record,) = await running_gateway.platform.records()
    assert (record.prompt_tokens, record.completion_tokens) == (3, 5)


async def tools_and_thought(client: Client) -> None:
    await client.begin_stream()
    deltas: list[dict[str, Any]] = [
        {"reasoning_content": "Look "},
        {"reasoning_content": "it up."},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"at": "sky"}'}}]},
    ]
    for delta in deltas:
        await client.chunk(event({"id": "c", "choices": [{"index": 0, "delta": delta}]}))
    await client.chunk(event({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}))
    await client.chunk(b"data: [DONE]\n\n")
    await client.end_stream()


async def test_a_tool_is_called_and_its_result_comes_back(tmp_path: Path) -> None:
    tool: Any = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
    async with gateway_with_runner(tmp_path, tools_and_thought, runs=False) as running_gateway:
        async with running_gateway.client.responses.stream(model=MODEL, input="what is up?", tools=[tool]) as stream:
            answer = await stream.get_final_response()
        assert [item.type for item in answer.output] == ["reasoning", "function_call"]
        call: Any = answer.output[1]
        assert (call.name, json.loads(call.arguments)) == ("look", {"at": "sky"})
        running_gateway.server.script = well
        result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "clouds"}
        await running_gateway.client.responses.create(model=MODEL, previous_response_id=answer.id, input=[result], tools=[tool])
        assert running_gateway.server.requests[-1].json["messages"] == [
            {"role": "user", "content": "what is up?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}],
                "reasoning_content": "Look it up.",
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "clouds"},
        ]
        # The same, held by the client: what an answer gave is accepted as input.
        own: Any = [{"role": "user", "content": "what is up?"}, *answer.output, result]
        await running_gateway.client.responses.create(model=MODEL, input=own, tools=[tool])
        assert running_gateway.server.requests[-1].json["messages"] == running_gateway.server.requests[-2].json["messages"]


async def test_refusals_are_those_of_chat(running_gateway: GatewayWithRunner) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        await running_gateway.client.responses.create(model="nobody/has-it", input="hello")
    assert raised.value.code == "model_not_found"
    assert raised.value.response.headers["x-request-id"]
    with pytest.raises(openai.BadRequestError) as bad:
        await running_gateway.client.responses.create(model=MODEL, input="hello", tools=[{"type": "web_search"}])
    assert (bad.value.code, bad.value.param) == ("unsupported_parameter", "tools[0].type")
    assert await running_gateway.platform.records() == []


async def broken(client: Client) -> None:
    if not client.json.get("stream"):
        await client.answer(500, b"{}")
        return
    await client.begin_stream()
    await client.chunk(token_event("half"))
    client.reset()


async def test_failing_worker_fails_the_response(tmp_path: Path) -> None:
    async with gateway_with_runner(tmp_path, broken, runs=False) as running_gateway:
        with pytest.raises(openai.InternalServerError) as raised:
            await running_gateway.client.responses.create(model=MODEL, input="hello")
        assert raised.value.code == "upstream_error"
        events = [each async for each in await running_gateway.client.responses.create(model=MODEL, input="hello", stream=True)]
        last: Any = events[-1]
        assert (last.type, last.response.error.code, last.response.output_text) == ("response.failed", "server_error", "half")
        assert sum(each.type in ("response.completed", "response.failed") for each in events) == 1
        with pytest.raises(openai.NotFoundError):
            await running_gateway.client.responses.retrieve(last.response.id)
        await running_gateway.platform.until_quiet()


async def slowly(client: Client) -> None:
    await client.begin_stream()
    try:
        while True:
            await client.chunk(token_event("x" * 1000))
    finally:
        client.gone.set()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_generation(tmp_path: Path, stream: bool) -> None:
    async def hang(client: Client) -> None:
        client.go.set()
        await client.until_gone()

    async with gateway_with_runner(tmp_path, slowly if stream else hang, runs=False) as running_gateway:
        if stream:
            events = await running_gateway.client.responses.create(model=MODEL, input="hello", stream=True)
            async for each in events:
                if each.type == "response.output_text.delta":
                    break
            await events.close()
        else:
            asking = asyncio.create_task(running_gateway.client.responses.create(model=MODEL, input="hello"))
            await running_gateway.server.arrived.until(lambda: running_gateway.server.requests)
            await running_gateway.server.requests[0].go.wait()
            asking.cancel()
        await running_gateway.platform.until_quiet()
        await asyncio.wait_for(running_gateway.server.requests[0].gone.wait(), 5)


async def test_a_slow_reader_is_waited_for(tmp_path: Path) -> None:
    """What the worker makes piles up nowhere."""
    async with gateway_with_runner(tmp_path, slowly, runs=False) as running_gateway:
        body = json.dumps({"model": MODEL, "input": "hello", "stream": True}).encode()
        host, port = "127.0.0.1", running_gateway.platform.port
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 16)
        writer.write(request("/v1/responses", body, f"authorization: Bearer {running_gateway.platform.first.api_key}"))
        await reader.readuntil(b"\r\n\r\n")
        await running_gateway.server.arrived.until(lambda: running_gateway.server.requests)
        seen: list[int] = []

        def stands_still() -> bool:
            seen.append(running_gateway.server.requests[0].sent)
            return seen[-50:].count(seen[-1]) == 50  # a quarter of a second

        await until(stands_still, 20)
        assert seen[-1] < 40 << 20
        writer.close()
        await running_gateway.platform.until_quiet()


async def test_queued_stream_gets_comments(tmp_path: Path) -> None:
    async def wait(client: Client) -> None:
        await client.go.wait()
        await well(client)

    upstream: dict[str, Any] = {"scheduling": {"keepalive_after_seconds": 0.2, "keepalive_every_seconds": 0.2}}
    async with gateway_with_runner(tmp_path, wait, runs=False, **upstream) as running_gateway:
        asking = asyncio.create_task(running_gateway.client.responses.create(model=MODEL, input="hello", stream=True))
        events = await asking  # has its status line although no worker has answered
        kinds: list[str] = []
        async for each in events:
            kinds.append(each.type)
            if each.type == "response.in_progress":
                running_gateway.server.requests[0].go.set()
        assert kinds[-1] == "response.completed"


def without_responses(store: Store) -> Store:
    """A store that cannot keep a response."""

    async def unavailable(response: StoredResponse) -> None:
        raise PortUnavailable("gone")

    store.responses.add = unavailable  # type: ignore[method-assign]
    return store


async def test_response_that_cannot_be_stored_is_an_error(tmp_path: Path) -> None:
    """Said to who asked for it to be kept; who did not say gets the answer, and reads in it that it is not."""
    async with gateway_with_runner(tmp_path, store=without_responses, runs=False) as running_gateway:
        with pytest.raises(openai.InternalServerError) as raised:
            await running_gateway.client.responses.create(model=MODEL, input="hello", store=True)
        assert (raised.value.status_code, raised.value.code) == (503, "store_unavailable")
        answer = await running_gateway.client.responses.create(model=MODEL, input="hello")
        assert (answer.output_text, answer.model_extra and answer.model_extra["store"]) == ("well", False)
        events: list[Any] = [
            each async for each in await running_gateway.client.responses.create(model=MODEL, input="hello", stream=True, store=True)
        ]
        assert (events[-1].type, events[-1].response.error.code) == ("response.failed", "server_error")


# --- in the background ---


async def test_background_response_completes(running_gateway: GatewayWithRunner) -> None:
    responses = running_gateway.client.responses
    asked = await responses.create(model=MODEL, input="hello", background=True, metadata={"a": "b"})
    assert (asked.status, asked.background, asked.output) == ("queued", True, [])
    done = await running_gateway.until(lambda: responses.retrieve(asked.id), lambda each: each.status not in ("queued", "in_progress"))
    assert (done.status, done.output_text, done.metadata) == ("completed", "well", {"a": "b"})
    assert await responses.cancel(asked.id) == done
    after = await responses.create(model=MODEL, input="and?", previous_response_id=asked.id)
    assert after.output_text == "well"
    records = await running_gateway.platform.records()
    assert {record.service_class for record in records} == {"enterprise"}  # its owner's own, not that of batches


async def test_refused_background_response_fails(running_gateway: GatewayWithRunner) -> None:
    responses = running_gateway.client.responses
    asked = await responses.create(model="nobody/has-it", input="hello", background=True)
    done = await running_gateway.until(lambda: responses.retrieve(asked.id), lambda each: each.status not in ("queued", "in_progress"))
    assert (done.status, done.error is not None and done.error.code) == ("failed", "invalid_prompt")


async def test_cancelled_background_response_stops_the_generation(tmp_path: Path) -> None:
    async def hang(client: Client) -> None:
        await client.until_gone()

    async with gateway_with_runner(tmp_path, hang) as running_gateway:
        responses = running_gateway.client.responses
        asked = await responses.create(model=MODEL, input="hello", background=True)
        await running_gateway.server.arrived.until(lambda: running_gateway.server.requests)
        running = await responses.retrieve(asked.id)
        assert running.status == "in_progress"
        with pytest.raises(openai.BadRequestError):
            await responses.create(model=MODEL, input="and?", previous_response_id=asked.id)
        assert (await responses.cancel(asked.id)).status == "cancelled"
        assert (await responses.cancel(asked.id)).status == "cancelled"
        assert (await responses.retrieve(asked.id)).status == "cancelled"
        await asyncio.wait_for(running_gateway.server.requests[0].gone.wait(), 5)


async def test_an_answer_whose_task_was_never_made_fails(tmp_path: Path) -> None:
    """The gateway died between the two writes."""
    async with gateway_with_runner(tmp_path, runs=False) as running_gateway:
        asked = await running_gateway.client.responses.create(model=MODEL, input="hello", background=True)
        gateway = running_gateway.platform.gateway
        (found,) = await gateway.store.responses.unfinished(10)
        await gateway.store.tasks.cancel(found.org_id, [str(found.task_id)])
        await gateway.store.tasks.delete(found.org_id, [str(found.task_id)])
        assert (await running_gateway.client.responses.retrieve(asked.id)).status == "queued"
        gateway.objects.responses._clock = Later(120.0)
        assert await gateway.objects.responses.refresh_unfinished() == 1
        assert (await running_gateway.client.responses.retrieve(asked.id)).status == "failed"


class Later:
    def __init__(self, seconds: float) -> None:
        from penstock.domain.clock import SystemClock

        clock = SystemClock()
        self.monotonic = clock.monotonic
        self.time = lambda: clock.time() + seconds


async def test_non_stream_responses_keep_the_fields_of_the_engine(tmp_path: Path) -> None:
    async def cut(client: Client) -> None:
        body = json.loads(reply("and so on and"))
        body["choices"][0]["finish_reason"] = "length"
        await client.answer(200, json.dumps(body).encode())

    async with gateway_with_runner(tmp_path, cut, runs=False) as running_gateway:
        answer = await running_gateway.client.responses.create(model=MODEL, input="hello")
        assert (answer.status, answer.incomplete_details and answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
