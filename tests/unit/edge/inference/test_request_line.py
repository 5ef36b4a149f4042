"""Targets and framing of requests: what is served all the same, and what is refused with a sentence."""

import pytest

from penstock.domain.errors import BadHttp, MethodNotAllowed, NotSupported
from penstock.edge.inference.request_line import origin_form, unusable_framing, unusable_target
from tests.unit.edge.inference.memory_connection import CHAT, MemoryConnection


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/v1/models", b"/v1/models"),
        (b"http://gateway/v1/chat/completions", b"/v1/chat/completions"),
        (b"HTTPS://gateway:8080/v1/models?a=b", b"/v1/models?a=b"),
        (b"http://gateway", b"/"),
        (b"http://gateway?a", b"/?a"),
        (b"//v1/chat/completions", b"/v1/chat/completions"),
        (b"/v1//chat///completions", b"/v1/chat/completions"),
        (b"/v1/chat/completions/", b"/v1/chat/completions"),
        (b"/v1/chat/completions/?a=//b/", b"/v1/chat/completions?a=//b/"),
        (b"/v1/", b"/v1"),
        (b"//", b"//"),
        (b"//api/keys", b"//api/keys"),
        (b"/api/keys/", b"/api/keys/"),
        (b"//v10/models", b"//v10/models"),
        (b"http://", b"http://"),
        (b"*", b"*"),
    ],
    ids=lambda value: value.decode(),
)
def test_target_is_read_as_the_routes_know_it(target: bytes, expected: bytes) -> None:
    assert origin_form(target) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/penstock/v1/models", b"/v1/models"),
        (b"/penstock/v1//models/?x", b"/v1/models?x"),
        (b"/penstock", b"/"),
        (b"/penstock?x", b"/?x"),
        (b"/v1/models", b"/v1/models"),
        (b"/penstocks/v1", b"/penstocks/v1"),
        (b"http://gateway/penstock/v1/models", b"/v1/models"),
    ],
    ids=lambda value: value.decode(),
)
def test_path_under_which_a_proxy_serves_is_left_out(target: bytes, expected: bytes) -> None:
    assert origin_form(target, b"/penstock") == expected


def test_target_without_a_path_is_refused() -> None:
    assert isinstance(unusable_target(b"CONNECT"), MethodNotAllowed)
    assert isinstance(unusable_target(b"OPTIONS"), BadHttp)


@pytest.mark.parametrize(
    ("codings", "version", "error"),
    [
        ([b"chunked"], "1.1", None),
        ([b" Chunked "], "1.1", None),
        ([b"chunked"], "1.0", BadHttp),
        ([b"gzip, chunked"], "1.1", NotSupported),
        ([b"gzip", b"chunked"], "1.1", NotSupported),
        ([b"chunked, chunked"], "1.1", NotSupported),
        ([b"gzip"], "1.1", BadHttp),
        ([b""], "1.1", BadHttp),
    ],
    ids=repr,
)
def test_body_that_is_more_than_chunked_is_refused(codings: list[bytes], version: str, error: type[Exception] | None) -> None:
    found = unusable_framing(codings, version)
    assert (None if found is None else type(found)) is error


async def connection() -> MemoryConnection:
    client = MemoryConnection()
    await client.know_the_key()
    return client


@pytest.mark.parametrize("path", [f"http://gateway{CHAT}", f"/{CHAT}", f"{CHAT}/", "/v1//chat/completions?x=1"])
async def test_inference_is_served_however_its_path_is_written(path: str) -> None:
    client = await connection()
    for _ in range(2):
        client.receive(client.request(b"{}", path=path))
    assert [answer.status for answer in client.answers()] == [200, 200]
    assert len(client.inference.calls) == 2


@pytest.mark.parametrize("path", ["http://gateway/v1/models", "//v1/models", "/v1/models/"])
async def test_other_routes_get_the_path_as_they_know_it(path: str) -> None:
    client = await connection()
    client.receive(client.request(b"", path=path, method="GET"))
    await client.wire.wrote.wait()
    assert client.asgi_calls == ["/v1/models"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST /v1/files HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST /v1/chat/completions HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"CONNECT gateway:443 HTTP/1.1\r\nhost: gateway:443\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ],
    ids=["gzip and chunked", "two headers", "chunked before 1.1", "connect", "asterisk"],
)
async def test_request_that_two_servers_could_read_differently_ends_its_connection(head: bytes, status: int) -> None:
    client = await connection()
    client.receive(head)
    assert (client.answer().status, client.closed) == (status, True)
    assert (client.inference.calls, client.asgi_calls) == ([], [])
