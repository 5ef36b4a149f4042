"""Bytes that are no acceptable HTTP, or no acceptable request: the right status and code, in shape, with a request id."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.gateway import CHAT, Answer, Platform, ScriptedServer, platform, raw, request, scripted, well

pytestmark = pytest.mark.asyncio(loop_scope="module")
LIMIT = 10 << 20


@dataclass(frozen=True)
class Both:
    gate: Platform
    server: ScriptedServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Both]:
    """One gateway for all of this file, with its limits as they are by default."""
    async with scripted(well) as (one,):
        limits = {"unauthenticated_per_minute": 100_000}
        async with platform(tmp_path_factory.mktemp("bad-http"), [one.url], admission=limits) as gate:
            yield Both(gate, one)
            await gate.until_quiet()


@pytest.fixture
def roomy(both: Both) -> Platform:
    return both.gate


@pytest.fixture
def server(both: Both) -> ScriptedServer:
    both.server.requests.clear()
    return both.server


def in_shape(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.error["code"]) == (status, code), answer
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.headers["x-request-id"]) > 10
    assert answer.error["message"].endswith(".")


async def ask(gate: Platform, data: bytes) -> Answer:
    async with raw(gate.port) as client:
        await client.send(data)
        return await client.answer()


# --- requests that two servers could read differently ---------------------------------------------------------------------


def head(gate: Platform, *lines: str) -> bytes:
    first = [f"POST {CHAT} HTTP/1.1", "Host: gateway", f"Authorization: Bearer {gate.first.api_key}"]
    return ("\r\n".join([*first, *lines]) + "\r\n\r\n").encode("latin-1")


SMUGGLING = {
    "length and chunked": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "chunked and length": ["Transfer-Encoding: chunked", "Content-Length: 5"],
    "two lengths": ["Content-Length: 5", "Content-Length: 6"],
    "the same length twice": ["Content-Length: 5", "Content-Length: 5"],
    "a list of lengths": ["Content-Length: 5, 5"],
    "a negative length": ["Content-Length: -5"],
    "a signed length": ["Content-Length: +5"],
    "a length in hexadecimal": ["Content-Length: 0x5"],
    "a length beyond 64 bits": ["Content-Length: 99999999999999999999"],
    "chunked is not last": ["Transfer-Encoding: chunked, identity"],
    "another coding": ["Transfer-Encoding: gzip"],
    "chunked twice": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "a folded header": ["X-Folded: one\r\n two"],
    "a bare line feed": ["X-One: 1\nX-Two: 2"],
    "a bare line feed before a length": ["X-One: 1\nContent-Length: 5"],
    "a space before the colon": ["Content-Length : 5"],
    "a carriage return in a value": ["X-One: a\rb"],
    "a NUL in a value": ["X-One: a\0b"],
    "a NUL in a name": ["X\0One: a"],
    "no colon": ["what is this"],
    "an empty name": [": value"],
    "two keys": ["Authorization: Bearer another"],
    "two hosts": ["Host: another"],
    "two types": ["Content-Type: application/json", "Content-Type: text/plain"],
}


@pytest.mark.parametrize("lines", SMUGGLING.values(), ids=SMUGGLING.keys())
@pytest.mark.fault("Request smuggling: CL and TE, two lengths, odd framing", "400, the connection closes")
async def test_an_ambiguous_request_is_refused(roomy: Platform, server: ScriptedServer, lines: list[str]) -> None:
    async with raw(roomy.port) as client:
        await client.send(head(roomy, *lines) + b"hello")
        in_shape(await client.answer(), 400, "bad_http_request")
        assert await client.closed()
    assert server.requests == []


@pytest.mark.parametrize("lines", SMUGGLING.values(), ids=SMUGGLING.keys())
async def test_a_good_head_before_it_changes_nothing(roomy: Platform, server: ScriptedServer, lines: list[str]) -> None:
    """The same head is not parsed again on a connection; one that is only like it is."""
    body = b'{"model":"scripted","messages":[{"role":"user","content":"x"}]}'
    async with raw(roomy.port) as client:
        for text in (body, body + b" ", body):
            await client.send(head(roomy, f"Content-Length: {len(text)}") + text)
            assert (await client.answer()).status == 200
        await client.send(head(roomy, *lines) + b"hello")
        in_shape(await client.answer(), 400, "bad_http_request")
        assert await client.closed()
    assert len(server.requests) == 3


@pytest.mark.parametrize("lines", [SMUGGLING["length and chunked"], SMUGGLING["two keys"]])
async def test_the_control_api_refuses_in_its_own_shape(roomy: Platform, lines: list[str]) -> None:
    answer = await ask(roomy, head(roomy, *lines).replace(CHAT.encode(), b"/api/keys") + b"hello")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(answer.body)["code"] == "bad_http_request"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/3.0\r\nhost: a\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"BREW /pot HTTP/1.1\r\nhost: a\r\n\r\n",
        b"get /livez HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /li\xffvez HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\0" * 100,
        b"{}\r\n\r\n",
    ],
    ids=["tls", "http2", "http3", "http0.9", "no host", "unknown method", "lower case", "bytes in the path", "no authority", "nul", "json"],
)
async def test_bytes_that_are_not_http_are_refused(roomy: Platform, data: bytes) -> None:
    in_shape(await ask(roomy, data), 400, "bad_http_request")


async def test_a_bad_chunk_ends_the_connection(roomy: Platform, server: ScriptedServer) -> None:
    async with raw(roomy.port) as client:
        await client.send(head(roomy, "Transfer-Encoding: chunked") + b"xyz\r\nhello\r\n0\r\n\r\n")
        in_shape(await client.answer(), 400, "bad_http_request")
        assert await client.closed()
    assert server.requests == []


# --- sizes -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [["X-Long: " + "a" * 20_000], [f"X-{number}: {'a' * 100}" for number in range(200)]], ids=["one", "many"])
async def test_a_head_of_twenty_kilobytes(roomy: Platform, lines: list[str]) -> None:
    in_shape(await ask(roomy, head(roomy, *lines)), 431, "request_headers_too_large")


async def test_a_header_without_an_end(roomy: Platform) -> None:
    async with raw(roomy.port) as client:
        await client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-endless: ")
        for _ in range(3):
            await client.send(b"a" * 8000)
        in_shape(await client.answer(), 431, "request_headers_too_large")


async def test_a_head_of_fifteen_kilobytes_in_pieces_is_fine(roomy: Platform) -> None:
    data = roomy.request("X-Long: " + "a" * 15_000)
    async with raw(roomy.port) as client:
        for start in range(0, len(data), 4000):
            await client.send(data[start : start + 4000])
        assert (await client.answer()).status == 200


@pytest.mark.fault("Body of 11 MB", "413")
async def test_eleven_megabytes_with_a_length(roomy: Platform, server: ScriptedServer) -> None:
    body = json.dumps(roomy.body(pad="a" * (11 << 20))).encode()
    answer = await ask(roomy, request(CHAT, body, f"authorization: Bearer {roomy.first.api_key}"))
    in_shape(answer, 413, "request_too_large")
    assert answer.headers["x-should-retry"] == "false"
    assert server.requests == []


async def test_eleven_megabytes_in_chunks(roomy: Platform) -> None:
    async with raw(roomy.port) as client:
        await client.send(head(roomy, "Transfer-Encoding: chunked"))
        for _ in range(11):
            await client.send(b"%x\r\n%b\r\n" % (1 << 20, b"a" * (1 << 20)))
        await client.send(b"0\r\n\r\n")
        in_shape(await client.answer(), 413, "request_too_large")
        await client.send(roomy.request())
        assert (await client.answer()).status == 200, "the connection is still good"


async def test_a_body_without_an_end(tmp_path: Path) -> None:
    """What is dropped is bounded too."""
    async with platform(tmp_path, http={"max_body_bytes": 10_000}) as gate, raw(gate.port) as client:
        await client.send(head(gate, "Transfer-Encoding: chunked"))
        for _ in range(10):
            await client.send(b"%x\r\n%b\r\n" % (10_000, b"a" * 10_000))
        in_shape(await client.answer(), 413, "request_too_large")
        assert await client.closed()


async def test_ten_megabytes_are_fine(roomy: Platform) -> None:
    body = roomy.body(pad="")
    body["pad"] = "a" * (LIMIT - len(json.dumps(body)))
    answer = await ask(roomy, request(CHAT, json.dumps(body).encode(), f"authorization: Bearer {roomy.first.api_key}"))
    assert answer.status == 200


async def test_compressed_bodies_are_unpacked_before_they_are_sent_on(roomy: Platform, server: ScriptedServer) -> None:
    body = json.dumps(roomy.body()).encode()
    key = f"authorization: Bearer {roomy.first.api_key}"
    for encoding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body)), ("identity", body)):
        answer = await ask(roomy, request(CHAT, packed, key, f"content-encoding: {encoding}"))
        assert answer.status == 200, answer
    assert [one.json["model"] for one in server.requests] == ["scripted"] * 3


@pytest.mark.parametrize(
    ("encoding", "packed", "status", "code"),
    [
        ("gzip", gzip.compress(b"a" * (50 << 20)), 413, "request_too_large"),
        ("deflate", zlib.compress(b"\0" * (50 << 20)), 413, "request_too_large"),
        ("gzip", gzip.compress(b"{}" * 1000)[:-9], 400, "invalid_request_error"),
        ("gzip", b"not gzip at all", 400, "invalid_request_error"),
        ("gzip", b"", 400, "invalid_request_error"),
        ("br", b"anything", 400, "invalid_request_error"),
        ("gzip, gzip", b"anything", 400, "invalid_request_error"),
    ],
    ids=["bomb", "deflate bomb", "cut off", "not packed", "empty", "unknown", "twice"],
)
async def test_badly_packed_bodies(roomy: Platform, encoding: str, packed: bytes, status: int, code: str) -> None:
    key = f"authorization: Bearer {roomy.first.api_key}"
    in_shape(await ask(roomy, request(CHAT, packed, key, f"content-encoding: {encoding}")), status, code)


# --- what a client may do --------------------------------------------------------------------------------------------------


async def test_http_1_0(roomy: Platform) -> None:
    async with raw(roomy.port) as client:
        await client.send(roomy.request().replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.closed()


async def test_a_stream_over_http_1_0_ends_with_the_connection(roomy: Platform) -> None:
    answer = await ask(roomy, roomy.request(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert "transfer-encoding" not in answer.headers
    assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_a_stream_for_a_benchmark_that_keeps_http_1_0_alive(roomy: Platform) -> None:
    answer = await ask(roomy, roomy.request("connection: keep-alive", stream=True).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert "transfer-encoding" not in answer.headers
    assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_pipelined_requests_are_answered_in_order(roomy: Platform) -> None:
    async with raw(roomy.port) as client:
        unknown = roomy.request(model="unknown")
        live = request("/livez", method="GET")
        await client.send(
            roomy.request("x-request-id: 1") + unknown + live + roomy.request("x-request-id: 4", stream=True) + live + unknown
        )
        answers = [await client.answer() for _ in range(6)]
    assert [answer.status for answer in answers] == [200, 404, 200, 200, 200, 404]
    assert (answers[0].headers["x-request-id"], answers[3].headers["x-request-id"]) == ("1", "4")
    assert answers[3].body.endswith(b"data: [DONE]\n\n")


async def test_a_body_is_asked_for_when_the_client_waits(roomy: Platform) -> None:
    data = roomy.request("expect: 100-continue")
    start = data.index(b"\r\n\r\n") + 4
    async with raw(roomy.port) as client:
        await client.send(data[:start])
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(data[start:])
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("path", ["/livez", CHAT])
async def test_an_offered_upgrade_is_ignored(roomy: Platform, path: str) -> None:
    offer = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]
    data = roomy.request(*offer) if path == CHAT else request(path, b"", *offer, method="GET")
    async with raw(roomy.port) as client:
        for _ in range(2):
            await client.send(data + data)
            assert [(await client.answer()).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_wrong_method_is_refused_with_405(roomy: Platform, method: str) -> None:
    in_shape(await ask(roomy, request(CHAT, b"", f"authorization: Bearer {roomy.first.api_key}", method=method)), 405, "method_not_allowed")


async def test_an_unknown_path(roomy: Platform) -> None:
    in_shape(await ask(roomy, request("/v1/nothing", b"{}", f"authorization: Bearer {roomy.first.api_key}")), 404, "not_found")


# --- who asks, and for what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer sk-wrong", "Bearer psk-" + "a" * 40, "psk", "Bearer \xff"],
)
async def test_without_a_good_key(roomy: Platform, server: ScriptedServer, authorization: str | None) -> None:
    lines = [] if authorization is None else [f"Authorization: {authorization}"]
    answer = await ask(roomy, request(CHAT, json.dumps(roomy.body()).encode(), *lines))
    in_shape(answer, 401, "invalid_api_key")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert server.requests == []


async def test_a_revoked_key(roomy: Platform) -> None:
    made = await roomy.http.post("/api/keys", json={"name": "short-lived"})
    key, secret = made.json()["id"], made.json()["secret"]
    assert (await roomy.http.post(CHAT, json=roomy.body(), headers={"authorization": f"Bearer {secret}"})).status_code == 200
    assert (await roomy.http.delete(f"/api/keys/{key}")).status_code in (200, 204)
    async with raw(roomy.port) as client:
        while True:
            await client.send(request(CHAT, json.dumps(roomy.body()).encode(), f"authorization: Bearer {secret}"))
            answer = await client.answer(1.0)
            if answer.status != 200:
                break
    in_shape(answer, 401, "invalid_api_key")


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"model": "nobody-has-it"}, 404, "model_not_found", "model"),
        ({"max_tokens": -1}, 400, "invalid_request_error", "max_tokens"),
        ({"messages": []}, 400, "invalid_request_error", "messages"),
        ({"service_tier": "gold"}, 400, "invalid_request_error", "service_tier"),
        ({"extra": json.loads("[" * 900 + "]" * 900)}, 400, "invalid_json", None),
    ],
    ids=["unknown model", "negative max_tokens", "no messages", "unknown tier", "too deep"],
)
async def test_a_bad_field(
    roomy: Platform, server: ScriptedServer, fields: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    answer = await ask(roomy, roomy.request(**fields))
    in_shape(answer, status, code)
    assert answer.error["param"] == param
    assert server.requests == []


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"model":"scripted"}{', b'{"a":"\xff"}', b"[" * 100_000, b"\xef\xbb\xbf{}"])
async def test_body_that_is_not_json_is_refused(roomy: Platform, body: bytes) -> None:
    in_shape(await ask(roomy, request(CHAT, body, f"authorization: Bearer {roomy.first.api_key}")), 400, "invalid_json")


async def test_a_name_that_is_not_utf_8_takes_no_slot(roomy: Platform) -> None:
    body = b'{"model":"scripted","messages":[{"role":"user","content":"x"}],"service_tier":"auto","\xff\xfe":1}'
    in_shape(await ask(roomy, request(CHAT, body, f"authorization: Bearer {roomy.first.api_key}")), 400, "invalid_json")
    assert roomy.leaks() == {}


async def test_request_id_of_a_client_is_echoed_only_when_harmless(roomy: Platform) -> None:
    good = await ask(roomy, roomy.request("x-request-id: mine-1.2_3"))
    bad = await ask(roomy, roomy.request("x-request-id: <script>"))
    refused = await ask(roomy, roomy.request("x-request-id: mine-2", model="unknown"))
    assert (good.headers["x-request-id"], refused.headers["x-request-id"]) == ("mine-1.2_3", "mine-2")
    assert bad.headers["x-request-id"].startswith("req_")
