"""Servers behind the gateway that break, hang and babble: a typed error or one error event, no hang, nothing left behind."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest
import pytest_asyncio

from penstock.domain.usage import Outcome
from tests.support.gateway import (
    CHAT,
    Client,
    Platform,
    Script,
    ScriptedServer,
    data_events,
    event,
    full_stream,
    platform,
    reply,
    scripted,
    token_event,
    usage,
)
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
SILENCE = 0.4
NOTICED = SILENCE + 1.0
DONE = b"data: [DONE]\n\n"
END = event({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})


@dataclass(frozen=True)
class Both:
    gate: Platform
    server: ScriptedServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Both]:
    """One gateway and one server for all of this file; it is patient for SILENCE seconds, and ejects nobody."""
    silence = {"first_byte_seconds": SILENCE, "between_chunks_seconds": SILENCE, "connect_seconds": 0.5, "probe_seconds": 0.2}
    async with scripted(_nothing) as (one,):
        patient = {"eject_after": 1_000_000}
        async with platform(tmp_path_factory.mktemp("upstreams"), [one.url], upstream=silence, routing=patient) as gate:
            yield Both(gate, one)


@pytest_asyncio.fixture(loop_scope="module")
async def gate(both: Both) -> AsyncIterator[Platform]:
    yield both.gate
    await both.gate.until_quiet()


@pytest.fixture
def server(both: Both) -> ScriptedServer:
    both.server.requests.clear()
    return both.server


async def _nothing(client: Client) -> None:
    await client.until_gone()


async def failed(gate: Platform, **fields: Any) -> dict[str, Any]:
    """The error of a request that got a 502."""
    response = await gate.chat(**fields)
    assert response.status_code == 502, response.text
    assert response.headers["x-request-id"]
    error: dict[str, Any] = response.json()["error"]
    assert (error["code"], error["type"]) == ("upstream_error", "server_error")
    assert "127.0.0.1" not in error["message"]
    return error


async def broken(gate: Platform, server: ScriptedServer) -> list[str]:
    """The tokens before the one error event that ended a stream; the server goes on when they have arrived."""
    received = b""
    async with gate.http.stream("POST", CHAT, json=gate.body(stream=True)) as response:
        assert response.status_code == 200, await response.aread()
        async for piece in response.aiter_raw():
            received += piece
            if received.count(b"\n\n") == 2:
                server.requests[-1].go.set()
    *tokens, last = data_events(received)
    assert json.loads(last)["error"]["code"] == "upstream_error"
    assert not any("error" in json.loads(token) for token in tokens)
    return [json.loads(token)["choices"][0]["delta"]["content"] for token in tokens]


async def last_record(gate: Platform) -> tuple[Outcome, int, int]:
    await gate.until_quiet()
    record = (await gate.records())[0]
    return record.outcome, record.prompt_tokens, record.completion_tokens


# --- before the first byte ------------------------------------------------------------------------------------------


async def resets(client: Client) -> None:
    client.reset()


async def hangs_up(client: Client) -> None:
    client.writer.close()


async def half_a_head(client: Client) -> None:
    await client.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/ev")
    client.writer.close()


async def short(client: Client) -> None:
    await client.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n" + reply())
    client.writer.close()


async def long(client: Client) -> None:
    await client.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\n" + reply())


async def says(client: Client, status: int, body: bytes, content_type: str = "application/json") -> None:
    await client.answer(status, body, content_type)


async def babbles(client: Client) -> None:
    await client.send(b"\0\xff\xfe I am not HTTP\r\n\r\n")


async def html(client: Client) -> None:
    await client.answer(200, b"<html><title>502 Bad Gateway</title>" + b" " * 3_000_000, "text/html")


async def wrong_key(client: Client) -> None:
    await client.answer(401, b'{"error":{"message":"Incorrect API key provided: sk-secret-of-the-operator","code":"invalid_api_key"}}')


async def redirect(client: Client) -> None:
    await client.answer(307, b"", location="http://127.0.0.1:1/")


async def server_error(client: Client) -> None:
    await client.answer(500, b'{"error":{"message":"CUDA error at shard secret-name"}}')


async def empty(client: Client) -> None:
    await client.answer(200, b"")


async def no_choices(client: Client) -> None:
    await client.answer(200, b'{"id":"x"}')


async def cut_json(client: Client) -> None:
    await client.answer(200, reply()[:-10])


async def absurd_usage(client: Client) -> None:
    await client.answer(200, reply(prompt=2**70, completion=-5))


BEFORE = [resets, hangs_up, half_a_head, short, long, babbles, html, wrong_key, redirect, server_error, empty, no_choices, cut_json]


@pytest.mark.parametrize("script", BEFORE, ids=lambda script: script.__name__)
@pytest.mark.fault(
    "Worker breaks before the answer: reset, half a head, wrong Content-Length, HTML with 200, invalid bytes, cut JSON",
    "502 `upstream_error`, which names nothing of the inside",
)
async def test_a_whole_answer_that_never_comes(gate: Platform, server: ScriptedServer, script: Script) -> None:
    server.script = script
    error = await failed(gate)
    assert "secret" not in error["message"]


async def test_answer_with_an_absurd_usage_passes_and_is_estimated(gate: Platform, server: ScriptedServer) -> None:
    server.script = absurd_usage
    answer = (await gate.chat()).json()
    assert (answer["choices"][0]["message"]["content"], answer["usage"]["estimated"]) == ("well", True)


@pytest.mark.parametrize(
    "script", [resets, hangs_up, half_a_head, babbles, html, wrong_key, redirect, server_error, empty], ids=lambda script: script.__name__
)
async def test_a_stream_that_never_begins(gate: Platform, server: ScriptedServer, script: Script) -> None:
    server.script = script
    await failed(gate, stream=True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.fault("Worker hangs before the first byte", "502 after the time allowed for the first byte")
async def test_silence_before_the_first_byte(gate: Platform, server: ScriptedServer, stream: bool) -> None:
    server.script = _nothing
    async with asyncio.timeout(NOTICED):
        await failed(gate, stream=stream)
    await asyncio.wait_for(server.requests[0].gone.wait(), 1.0)


@pytest.mark.fault("Half-open connection to a worker", "noticed by the time-out, 502")
async def test_a_half_open_connection(gate: Platform, server: ScriptedServer) -> None:
    """The server's machine is gone: the connection is there, nothing ever comes, not even for a head that has begun."""

    async def stuck_head(client: Client) -> None:
        await client.send(b"HTTP/1.1 200 OK\r\ncontent-type: ")
        await client.until_gone()

    server.script = stuck_head
    async with asyncio.timeout(NOTICED):
        await failed(gate)


@pytest.mark.fault("No process listens at the worker's address", "502 at once")
async def test_upstream_that_stopped_listening_fails_the_request(gate: Platform, server: ScriptedServer) -> None:
    await server.close()
    try:
        await failed(gate)
    finally:
        await server.open()


@pytest.mark.parametrize("status", [429, 503])
async def test_the_only_worker_is_busy(gate: Platform, server: ScriptedServer, status: int) -> None:
    async def busy(client: Client) -> None:
        await client.answer(status, b'{"error":{"message":"too many requests"}}')

    server.script = busy
    response = await gate.chat()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "server_overloaded")
    assert int(response.headers["retry-after"]) >= 1
    assert gate.member().failures_in_a_row < 1_000_000


@pytest.mark.parametrize(("status", "code"), [(400, "invalid_request_error"), (422, "invalid_request_error"), (413, "request_too_large")])
async def test_the_request_is_at_fault(gate: Platform, server: ScriptedServer, status: int, code: str) -> None:
    async def refuses(client: Client) -> None:
        await client.answer(status, b'{"error":{"message":"logprobs are not supported","param":"logprobs","code":null}}')

    server.script = refuses
    response = await gate.chat()
    assert response.status_code in (400, status)
    assert (response.json()["error"]["code"], response.json()["error"]["message"]) == (code, "logprobs are not supported")
    assert len(server.requests) == 1, "no other worker would have said anything else"


# --- in mid-stream ------------------------------------------------------------------------------------------------------

GO = b"go"
Breaks = list[bytes | None]
"""Pieces to send as chunks; GO: wait until the client has what came before; None: hang from here on."""


def streaming(pieces: Breaks, then: str = "end") -> Script:
    async def script(client: Client) -> None:
        await client.begin_stream(x_penstock_prompt_tokens="3")
        for piece in pieces:
            if piece is None:
                await client.until_gone()
                return
            if piece is GO:
                await client.go.wait()
            else:
                await client.chunk(piece)
        if then == "end":
            await client.end_stream()
        elif then == "close":
            client.writer.close()
        else:
            client.reset()

    return script


TWO = [token_event("a"), token_event("b"), GO]
GARBAGE: dict[str, Script] = {
    "the connection closes": streaming([*TWO], "close"),
    "it ends without a finish reason": streaming([*TWO]),
    "it ends inside an event": streaming([*TWO, b'data: {"choices":[{"delta"']),
    "silence": streaming([*TWO, None]),
    "silence inside an event": streaming([*TWO, b'data: {"choices"', None]),
    "not json": streaming([*TWO, b"data: nonsense\n\n", None]),
    "two in one event": streaming([*TWO, b'data: {"choices":[]}{"choices":[]}\n\n', None]),
    "two on two lines of one event": streaming([*TWO, b'data: {"choices":[]}\ndata: {"choices":[]}\n\n', None]),
    "nul": streaming([*TWO, b"data: {\0}\n\n", None]),
    "bytes that are no utf-8": streaming([*TWO, b'data: {"choices":[{"delta":{"content":"\xff\xfe"}}]}\n\n', None]),
    "html": streaming([*TWO, b"<html>\n\n<body>data: x\n\n", None]),
    "choices of another kind": streaming([*TWO, b'data: {"choices":[1,2]}\n\n', None]),
    "deep": streaming([*TWO, b'data: {"choices":[{"delta":{"content":' + b"[" * 5000 + b"\n\n", None]),
    "an error of the engine": streaming([*TWO, event({"error": {"message": "out of memory at 10.0.0.1"}}), DONE]),
    "a line of ten megabytes": streaming([*TWO, b"data: " + b"x" * 10_000_000]),
    "a comment of ten megabytes": streaming([*TWO, b": " + b"x" * 10_000_000]),
}


@pytest.mark.parametrize("script", GARBAGE.values(), ids=GARBAGE.keys())
@pytest.mark.fault(
    "Stream breaks: cut, silent, NUL, no UTF-8, two JSON in one event, a line of 10 MB, no finish reason",
    "every token that came, then exactly one error event",
)
async def test_a_stream_that_breaks(gate: Platform, server: ScriptedServer, script: Script) -> None:
    server.script = script
    async with asyncio.timeout(NOTICED + 1.0):
        assert await broken(gate, server) == ["a", "b"]
    outcome, prompt, completion = await last_record(gate)
    assert (outcome, prompt) == (Outcome.FAILED, 3)
    assert 2 <= completion <= 3, "every token that was delivered, and at most one more"


async def test_rubbish_in_the_first_read(gate: Platform, server: ScriptedServer) -> None:
    """Nothing has gone to the client yet: another worker could have taken over, and here there is none."""
    server.script = streaming([TWO[0], b"data: nonsense\n\n"])
    await failed(gate, stream=True)


@pytest.mark.fault("Connection reset in mid-stream", "one error event; the tokens delivered are counted")
async def test_a_reset_in_mid_stream(gate: Platform, server: ScriptedServer) -> None:
    server.script = streaming([*TWO], "reset")
    assert await broken(gate, server) == ["a", "b"]
    assert await last_record(gate) == (Outcome.FAILED, 3, 2)


async def test_the_connection_to_a_broken_stream_is_closed(gate: Platform, server: ScriptedServer) -> None:
    server.script = GARBAGE["not json"]
    await broken(gate, server)
    await asyncio.wait_for(server.requests[0].gone.wait(), 1.0)


async def test_sdk_raises_the_error_that_broke_the_stream(gate: Platform, server: ScriptedServer) -> None:
    """What came with the same read as the rubbish is lost, what came before it is not."""
    server.script = GARBAGE["not json"]
    async with openai.AsyncOpenAI(base_url=f"{gate.gateway.base_url}/v1", api_key=gate.first.api_key, max_retries=0) as sdk:
        stream = await sdk.chat.completions.create(model="scripted", messages=[{"role": "user", "content": "x"}], stream=True)
        got = [(await anext(stream)).choices[0].delta.content for _ in range(2)]
        server.requests[0].go.set()
        with pytest.raises(openai.APIError) as caught:
            await anext(stream)
    assert got == ["a", "b"]
    assert "worker failed" in caught.value.message


# --- odd, but in order ------------------------------------------------------------------------------------------------


def in_pieces(text: bytes, size: int) -> Breaks:
    return [text[start : start + size] for start in range(0, len(text), size)]


WHOLE = b"".join(full_stream(4)).replace(b"t2 ", "水\U0001f6b0 ".encode())
ODD: dict[str, Script] = {
    "a character split over two reads": streaming(in_pieces(WHOLE, 1)),
    "crlf": streaming(in_pieces(WHOLE.replace(b"\n", b"\r\n"), 7)),
    "cr": streaming(in_pieces(WHOLE.replace(b"\n", b"\r"), 7)),
    "no space after the colon": streaming([WHOLE.replace(b"data: ", b"data:")]),
    "comments": streaming([b": hello\n\n", WHOLE.replace(b"\n\n", b"\n\n: ping\n\n")]),
    "named events": streaming([WHOLE.replace(b"data: ", b"event: message\nid: 1\ndata: ")]),
    "all in one read": streaming([WHOLE]),
    "empty events": streaming([WHOLE.replace(b"\n\n", b"\n\n\n\n")]),
    "no done": streaming([WHOLE.removesuffix(DONE)]),
    "no last blank line": streaming([WHOLE.removesuffix(b"\n\n")]),
    "more after done": streaming([WHOLE + WHOLE]),
    "hangs after done": streaming([WHOLE, None]),
    "resets after done": streaming([WHOLE], "reset"),
    "no framing": None,  # type: ignore[dict-item] # filled in below
}


async def _unframed(client: Client) -> None:
    await client.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + WHOLE)
    client.writer.close()


ODD["no framing"] = _unframed


@pytest.mark.parametrize("script", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("wanted", [True, False], ids=["usage", "no usage"])
@pytest.mark.fault("Stream in odd form: CRLF, comments, no space after `data:`, split UTF-8, no `[DONE]`", "the client gets the usual form")
async def test_a_stream_in_an_odd_form_arrives_in_the_usual_one(
    gate: Platform, server: ScriptedServer, script: Script, wanted: bool
) -> None:
    server.script = script
    async with asyncio.timeout(NOTICED):
        response = await gate.chat(stream=True, **({"stream_options": {"include_usage": True}} if wanted else {}))
    *chunks, done = data_events(response.content)
    assert done == "[DONE]"
    values = [json.loads(chunk) for chunk in chunks]
    text = "".join(choice["delta"].get("content", "") for value in values for choice in value["choices"])
    assert text == "t0 t1 水\U0001f6b0 t3 "
    assert [value["usage"] for value in values if value.get("usage")] == ([usage(3, 4)] if wanted else [])
    assert {value["service_tier"] for value in values} == {"default"}
    assert await last_record(gate) == (Outcome.COMPLETED, 3, 4)


async def test_a_connection_is_closed_when_a_server_hangs_after_done(gate: Platform, server: ScriptedServer) -> None:
    server.script = ODD["hangs after done"]
    await gate.chat(stream=True)
    await asyncio.wait_for(server.requests[0].gone.wait(), NOTICED)


async def test_only_usage_of_our_own_when_the_engine_reports_none(gate: Platform, server: ScriptedServer) -> None:
    server.script = streaming([*TWO[:2], END, DONE])
    response = await gate.chat(stream=True, stream_options={"include_usage": True})
    last = json.loads(data_events(response.content)[-2])
    assert (last["choices"], last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == ([], 3, 2)


async def test_embeddings_beyond_all_bounds(gate: Platform, server: ScriptedServer) -> None:
    async def huge(client: Client) -> None:
        data = [{"object": "embedding", "index": 0, "embedding": [1e300, 0.5]}]
        await client.answer(200, json.dumps({"object": "list", "data": data, "usage": {"prompt_tokens": 1}}).encode())

    server.script = huge
    body = {"model": "scripted", "input": "x", "encoding_format": "base64"}
    async with asyncio.timeout(5):
        response = await gate.http.post("/v1/embeddings", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")


async def test_the_next_request_finds_everything_in_order(gate: Platform, server: ScriptedServer) -> None:
    """After all that: the same gateway, the same server."""

    async def fine(client: Client) -> None:
        await client.answer(200, reply())

    server.script = fine
    response = await gate.http.post(CHAT, json=gate.body())
    assert response.status_code == 200
    await until(lambda: gate.leaks() == {})
