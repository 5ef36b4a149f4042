"""Answers in another form, and errors that call themselves something else: taken as what they are, without blame for the worker."""

import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from penstock.domain.usage import Outcome
from tests.support.gateway import (
    CHAT,
    Client,
    Platform,
    ScriptedServer,
    data_events,
    event,
    full_stream,
    platform,
    reply,
    scripted,
    token_event,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
WHOLE_STREAM = b"".join(full_stream(3))
DONE = b"data: [DONE]\n\n"
LIMIT = 300_000


@dataclass(frozen=True)
class Odd:
    gate: Platform
    server: ScriptedServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def odd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Odd]:
    async def nothing(client: Client) -> None:
        await client.until_gone()

    async with scripted(nothing) as (server,):
        limits = {"probe_seconds": 0.2, "max_event_bytes": LIMIT}
        async with platform(tmp_path_factory.mktemp("odd"), [server.url], upstream=limits) as gate:
            yield Odd(gate, server)


@pytest.fixture
def server(odd: Odd) -> ScriptedServer:
    odd.server.requests.clear()
    odd.gate.member().failures_in_a_row = 0
    return odd.server


def text_of(stream: bytes) -> str:
    *chunks, done = data_events(stream)
    assert done == "[DONE]", stream
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in json.loads(chunk)["choices"])


async def outcome(gate: Platform) -> Outcome:
    await gate.until_quiet()
    return (await gate.records())[0].outcome


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
async def test_stream_with_another_content_type_is_a_stream(odd: Odd, server: ScriptedServer, content_type: str) -> None:
    async def script(client: Client) -> None:
        line = f"content-type: {content_type}\r\n" if content_type else ""
        await client.send(f"HTTP/1.1 200 OK\r\n{line}transfer-encoding: chunked\r\n\r\n".encode())
        await client.chunk(WHOLE_STREAM[:3])
        await client.chunk(WHOLE_STREAM[3:])
        await client.end_stream()

    server.script = script
    assert text_of((await odd.gate.chat(stream=True)).content) == "t0 t1 t2 "
    assert await outcome(odd.gate) is Outcome.COMPLETED


@pytest.mark.parametrize("in_pieces", [False, True])
async def test_whole_answer_to_a_stream_is_streamed(odd: Odd, server: ScriptedServer, in_pieces: bool) -> None:
    async def script(client: Client) -> None:
        if in_pieces:
            await client.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            await client.chunk(reply()[:20])
            await client.chunk(reply()[20:])
            await client.end_stream()
        else:
            await client.answer(200, reply())

    server.script = script
    response = await odd.gate.chat(stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert text_of(response.content) == "well"
    assert json.loads(data_events(response.content)[-2])["usage"]["prompt_tokens"] == 3
    record = (await odd.gate.records())[0]
    assert (record.outcome, record.prompt_tokens, record.completion_tokens) == (Outcome.COMPLETED, 3, 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_compressed_answer_is_unpacked(odd: Odd, server: ScriptedServer, stream: bool) -> None:
    async def script(client: Client) -> None:
        packed = gzip.compress(WHOLE_STREAM if stream else reply())
        await client.answer(200, packed, "text/event-stream" if stream else "application/json", content_encoding="gzip")

    server.script = script
    response = await odd.gate.chat(stream=stream)
    if stream:
        assert text_of(response.content) == "t0 t1 t2 "
    else:
        assert response.json()["choices"][0]["message"]["content"] == "well"


async def test_lone_surrogate_in_a_whole_answer_is_replaced(odd: Odd, server: ScriptedServer) -> None:
    async def script(client: Client) -> None:
        await client.answer(200, reply("X").replace(b'"X"', b'"\\ud83d!"'))

    server.script = script
    assert (await odd.gate.chat()).json()["choices"][0]["message"]["content"] == "\ufffd!"


async def test_event_of_an_image_passes_and_one_over_the_limit_names_it(odd: Odd, server: ScriptedServer) -> None:
    size = 200_000

    async def script(client: Client) -> None:
        await client.begin_stream()
        await client.chunk(token_event("A" * size))
        await client.chunk(WHOLE_STREAM)
        await client.end_stream()

    server.script = script
    assert text_of((await odd.gate.chat(stream=True)).content).startswith("A" * size + "t0")
    size = 2 * LIMIT
    response = await odd.gate.chat(stream=True)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    assert f"{LIMIT} bytes" in response.json()["error"]["message"]
    assert len(server.requests) == 2, "another worker's event would be as large"


MISTAKES: dict[str, tuple[int, bytes, dict[str, str], tuple[int, str, str | None]]] = {
    "longer than 64 KiB": (
        400,
        b'{"object":"error","message":"1 validation error: ' + b"x" * 100_000 + b'","type":"BadRequestError"}',
        {},
        (400, "invalid_request_error", None),
    ),
    "content filter": (
        400,
        b'{"error":{"code":"content_filter","type":"content_policy","param":"prompt","message":"Filtered."}}',
        {},
        (400, "content_filter", "prompt"),
    ),
    "compressed": (
        400,
        gzip.compress(b'{"error":{"message":"too large","param":"max_tokens","code":"invalid_value"}}'),
        {"content_encoding": "gzip"},
        (400, "invalid_value", "max_tokens"),
    ),
    "404": (404, b'{"error":{"code":404,"message":"No endpoints found that support tool use."}}', {}, (404, "not_found", None)),
    "451": (451, b'{"error":{"message":"Not in your country.","code":"unsupported_country"}}', {}, (451, "unsupported_country", None)),
    "200": (200, b'{"error":{"message":"maximum context length is 4096 tokens","code":400}}', {}, (400, "context_length_exceeded", None)),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "body", "headers", "shown"), MISTAKES.values(), ids=MISTAKES.keys())
async def test_callers_mistake_is_passed_on_and_ejects_no_worker(
    odd: Odd, server: ScriptedServer, status: int, body: bytes, headers: dict[str, str], shown: tuple[int, str, str | None], stream: bool
) -> None:
    async def script(client: Client) -> None:
        await client.answer(status, body, **headers)

    server.script = script
    for _ in range(6):
        response = await odd.gate.chat(stream=stream)
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == shown, error
    assert (len(server.requests), odd.gate.member().failures_in_a_row, odd.gate.member().ejected_until) == (6, 0, 0.0)
    await odd.gate.until_quiet()


@pytest.mark.parametrize(
    ("status", "body"), [(404, b'{"detail":"Not Found"}'), (404, b""), (405, b"Method Not Allowed"), (501, b'{"error":{"message":"no"}}')]
)
async def test_embeddings_of_a_model_that_makes_none_are_refused_and_eject_no_worker(
    odd: Odd, server: ScriptedServer, status: int, body: bytes
) -> None:
    async def script(client: Client) -> None:
        await client.answer(status, body)

    server.script = script
    for _ in range(6):
        response = await odd.gate.http.post("/v1/embeddings", json={"model": odd.gate.body()["model"], "input": "x"})
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == (400, "unsupported_parameter", "model"), error
    assert (len(server.requests), odd.gate.member().failures_in_a_row, odd.gate.member().ejected_until) == (6, 0, 0.0)
    await odd.gate.until_quiet()


async def test_missing_path_of_a_chat_is_still_the_workers_failure(odd: Odd, server: ScriptedServer) -> None:
    async def script(client: Client) -> None:
        await client.answer(501, b"")

    server.script = script
    assert (await odd.gate.chat()).status_code == 502
    assert odd.gate.member().failures_in_a_row > 0
    await odd.gate.until_quiet()


async def streamed(odd: Odd, server: ScriptedServer, *pieces: bytes) -> Any:
    async def script(client: Client) -> None:
        await client.begin_stream()
        for piece in pieces:
            await client.chunk(piece)
            await client.go.wait()
        await client.end_stream()

    server.script = script
    received = b""
    async with odd.gate.http.stream("POST", CHAT, json=odd.gate.body(stream=True)) as response:
        async for piece in response.aiter_raw():
            received += piece
            server.requests[-1].go.set()
    return response.status_code, received


async def test_callers_mistake_in_the_first_event_is_the_answer(odd: Odd, server: ScriptedServer) -> None:
    async def script(client: Client) -> None:
        await client.begin_stream()
        await client.chunk(event({"error": {"message": "maximum context length is 4096 tokens", "code": 400}}) + DONE)
        await client.end_stream()

    server.script = script
    response = await odd.gate.chat(stream=True)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"object": "error", "message": "CUDA out of memory", "code": 500}, "upstream_error"),
        ({"detail": "engine died"}, "upstream_error"),
        ({"error": {"message": "Filtered.", "code": "content_filter"}}, "content_filter"),
    ],
)
async def test_error_in_mid_stream_is_one_error_event(odd: Odd, server: ScriptedServer, error: dict[str, Any], code: str) -> None:
    status, received = await streamed(odd, server, token_event("Half an"), event(error) + DONE)
    *chunks, last = data_events(received)
    assert (status, len(chunks), json.loads(last)["error"]["code"]) == (200, 1, code)
    record = (await odd.gate.records())[0]
    assert record.outcome is Outcome.FAILED
    await odd.gate.until_quiet()


async def test_stream_that_has_only_an_end_is_a_failure(odd: Odd, server: ScriptedServer) -> None:
    async def script(client: Client) -> None:
        await client.begin_stream()
        await client.chunk(DONE)
        await client.end_stream()

    server.script = script
    assert (await odd.gate.chat(stream=True)).status_code == 502


async def test_error_before_anything_was_sent_goes_to_another_worker(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def broken(client: Client) -> None:
        await client.begin_stream()
        await client.chunk(b'event: error\ndata: {"detail":"engine died"}\n\n' + DONE)
        await client.end_stream()

    async def lacks(client: Client) -> None:
        await client.answer(404, b'{"error":{"message":"model \'scripted\' not found"}}')

    async def fine(client: Client) -> None:
        await client.begin_stream()
        await client.chunk(WHOLE_STREAM)
        await client.end_stream()

    for first in (broken, lacks):
        async with scripted(first, fine) as servers, platform(tmp_path_factory.mktemp("two"), [one.url for one in servers]) as gate:
            for _ in range(4):
                assert text_of((await gate.chat(stream=True)).content) == "t0 t1 t2 "
            assert len(servers[1].requests) == 4
