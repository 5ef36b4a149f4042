"""Pages of allowed origins can read every answer of the fast lane, and other clients get no further header."""

import pytest

from penstock.domain.errors import RateLimited
from penstock.edge.layers.cross_origin import EXPOSED
from tests.unit.edge.inference.memory_connection import HttpAnswer, MemoryConnection

ORIGIN = "origin: https://app.test"


async def connection(**options: object) -> MemoryConnection:
    made = MemoryConnection(origins=("https://app.test",), **options)  # type: ignore[arg-type]  # passed on
    await made.know_the_key()
    return made


def readable(answer: HttpAnswer) -> bool:
    headers = answer.headers
    expected = ("https://app.test", ", ".join(EXPOSED), "Origin")
    return (headers.get("access-control-allow-origin"), headers.get("access-control-expose-headers"), headers.get("vary")) == expected


async def test_answer_is_readable_also_when_its_head_was_learned() -> None:
    client = await connection()
    for _ in range(3):
        client.receive(client.request(b"{}", ORIGIN))
    assert [(answer.status, readable(answer)) for answer in client.answers()] == [(200, True)] * 3


async def test_stream_is_readable() -> None:
    client = await connection(hold=True)
    client.receive(client.request(b"{}", ORIGIN))
    (reply,) = client.inference.replies
    reply.start(200, b"content-type: text/event-stream\r\n")
    reply.write(b"data: [DONE]\n\n")
    reply.end()
    assert b"\r\naccess-control-allow-origin: https://app.test\r\n" in client.wire.written


async def test_refusal_of_the_pipeline_is_readable() -> None:
    client = await connection(hold=True)
    client.receive(client.request(b"{}", ORIGIN))
    client.inference.replies[0].refuse(RateLimited("Too many.", retry_after_seconds=1.0), b"")
    assert (client.answer().status, readable(client.answer())) == (429, True)


async def test_refusal_of_the_key_or_of_the_body_is_readable() -> None:
    client = await connection(max_body_bytes=100)
    client.receive(client.request(b"x" * 101, ORIGIN))
    client.authorization = "Bearer psk-wrong"
    client.receive(client.request(b"{}", ORIGIN))
    assert [(answer.status, readable(answer)) for answer in client.answers()] == [(413, True), (401, True)]


@pytest.mark.parametrize(
    ("lines", "status"), [((f"x: {'y' * 300}",), 431), (("host: twice",), 400)], ids=["headers too large", "header twice"]
)
async def test_request_that_ends_its_connection_is_answered_readably(lines: tuple[str, ...], status: int) -> None:
    client = await connection(max_header_bytes=300)
    client.receive(client.request(b"{}", ORIGIN, *lines))
    assert (client.answer().status, readable(client.answer()), client.closed) == (status, True, True)


@pytest.mark.parametrize("lines", [(), ("origin: https://evil.test",)], ids=["no origin", "another origin"])
async def test_answer_for_others_permits_nothing(lines: tuple[str, ...]) -> None:
    client = await connection()
    client.receive(client.request(b"{}", *lines))
    assert client.answer().headers.keys().isdisjoint({"access-control-allow-origin", "access-control-expose-headers"})


async def test_answer_has_no_header_for_browsers_where_cors_is_off() -> None:
    client = MemoryConnection()
    await client.know_the_key()
    client.receive(client.request(b"{}", ORIGIN))
    assert client.answer().headers.keys().isdisjoint({"access-control-allow-origin", "access-control-expose-headers", "vary"})
