"""A client connection, byte by byte: what is refused before routing, what is kept alive, what ends it."""

import pytest

from tests.unit.edge.inference.memory_connection import ANSWER, CHAT, MemoryConnection


async def connection(**options: object) -> MemoryConnection:
    made = MemoryConnection(**options)  # type: ignore[arg-type]  # passed on
    await made.know_the_key()
    return made


async def test_request_in_one_read_is_answered_and_the_connection_is_kept() -> None:
    client = await connection()
    client.receive(client.request(b'{"model":"m"}'))
    assert (client.answer().status, client.answer().body) == (200, ANSWER)
    assert client.inference.calls[0].body == b'{"model":"m"}'
    assert not client.closed


@pytest.mark.parametrize("size", [1, 2, 3, 17])
async def test_request_in_pieces_is_answered_once(size: int) -> None:
    client, body = await connection(), b'{"model":"a longer name"}'
    data = client.request(body)
    for at in range(0, len(data), size):
        client.receive(data[at : at + size])
    assert client.answer().status == 200
    assert [call.body for call in client.inference.calls] == [body]


async def test_second_request_with_the_same_head_has_its_own_body() -> None:
    client = await connection()
    for body in (b'{"a":1}', b'{"b":22}', b'{"c":3}'):
        client.receive(client.request(body))
    assert [call.body for call in client.inference.calls] == [b'{"a":1}', b'{"b":22}', b'{"c":3}']
    assert [answer.status for answer in client.answers()] == [200, 200, 200]


@pytest.mark.parametrize("name", ["Host", "Authorization", "Content-Type", "Content-Encoding", "Idempotency-Key"])
@pytest.mark.parametrize("good_before", [0, 2])
async def test_header_that_comes_twice_is_refused_and_the_connection_closed(name: str, good_before: int) -> None:
    client = await connection()
    for _ in range(good_before):
        client.receive(client.request())
    client.receive(client.request(b"{}", f"{name}: one", f"{name}: two"))
    answer = client.answers()[-1]
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert b"may come only once" in answer.body
    assert client.closed
    assert len(client.inference.calls) == good_before


async def test_two_host_headers_are_refused_for_the_control_api_too() -> None:
    client = await connection()
    client.receive(client.request(b"", "host: another", path="/api/keys"))
    assert (client.answer().status, client.answer().headers["content-type"]) == (400, "application/problem+json")
    assert (client.asgi_calls, client.closed) == ([], True)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (f"POST {CHAT} HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 400),
        (f"POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello", 400),
        (f"POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", 400),
        (f"POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\nhello", 400),
        (f"POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-length : 5\r\n\r\nhello", 400),
        (f"POST {CHAT} HTTP/2.0\r\nhost: a\r\ncontent-length: 0\r\n\r\n", 400),
        ("no http at all\r\n\r\n", 400),
        (f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nx-long: {'a' * 2000}\r\n\r\n", 431),
        (f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nx-endless: {'a' * 2000}", 431),
    ],
    ids=[
        "no host",
        "length and chunked",
        "two lengths",
        "negative length",
        "space",
        "version",
        "no http",
        "long head",
        "head without an end",
    ],
)
async def test_request_that_cannot_be_told_from_the_next_is_refused_and_the_connection_closed(data: str, status: int) -> None:
    client = await connection(max_header_bytes=1000)
    client.receive(data.encode())
    assert (client.answer().status, client.answer().headers["connection"]) == (status, "close")
    assert client.closed
    client.receive(client.request())
    assert len(client.answers()) == 1, "what comes after the end is not read"


async def test_client_that_asks_to_close_gets_its_answer_and_the_end() -> None:
    client = await connection()
    client.receive(client.request(b"{}", "connection: close"))
    assert (client.answer().status, client.answer().headers["connection"]) == (200, "close")
    assert client.closed


async def test_http_1_0_needs_no_host_and_ends_with_its_answer() -> None:
    client = await connection()
    client.receive(client.request(version="1.0").replace(b"host: gateway\r\n", b""))
    assert client.answer().status == 200
    assert client.closed


async def test_pipelined_requests_are_answered_in_order() -> None:
    client = await connection(hold=True)
    client.receive(client.request(b'{"a":1}') + client.request(b'{"b":2}'))
    assert [call.body for call in client.inference.calls] == [b'{"a":1}']
    assert not client.wire.reading, "nothing more is read until the first is answered"
    client.inference.replies[0].send(200, b"", b"first")
    client.inference.replies[1].send(200, b"", b"second")
    assert [answer.body for answer in client.answers()] == [b"first", b"second"]
    assert client.wire.reading


async def test_bad_request_behind_an_answer_under_way_closes_without_a_second_answer() -> None:
    client = await connection(hold=True)
    client.receive(client.request())
    client.inference.replies[0].start(200, b"content-type: text/event-stream\r\n")
    client.inference.replies[0].write(b"data: 1\n\n")
    client.receive(b"no http at all\r\n\r\n")
    assert client.closed
    assert client.wire.written.count(b"HTTP/1.1") == 1


async def test_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    client = await connection()
    data = client.request(b"{}", "expect: 100-continue")
    client.receive(data[:-2])
    assert client.wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.receive(data[-2:])
    assert client.answer().status == 200


@pytest.mark.parametrize("size", [1, 1000])
async def test_offered_upgrade_is_not_taken_up_and_the_request_is_an_ordinary_one(size: int) -> None:
    client, body = await connection(), b'{"model":"m"}'
    data = client.request(body, "connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: x")
    for at in range(0, len(data), size):
        client.receive(data[at : at + size])
    assert client.answer().status == 200
    assert [call.body for call in client.inference.calls] == [body]


@pytest.mark.parametrize(("method", "path"), [("GET", CHAT), ("POST", "/v1/files"), ("GET", "/livez"), ("PUT", CHAT)])
async def test_every_other_route_is_handed_to_the_application(method: str, path: str) -> None:
    client = await connection()
    client.receive(client.request(b"", method=method, path=path))
    await client.wire.wrote.wait()
    assert client.asgi_calls == [path]
    assert client.inference.calls == []


async def test_head_that_does_not_arrive_in_time_is_408() -> None:
    client = await connection(header_seconds=10.0)
    client.receive(b"POST /v1/chat")
    for now, closed in ((100.0, False), (109.0, False), (111.0, True)):
        client.protocol.overdue(now)
        assert client.closed is closed
    assert client.answer().status == 408


async def test_body_that_does_not_arrive_in_time_is_408() -> None:
    client = await connection(body_seconds=30.0)
    client.receive(client.request(b"{}")[:-1])
    for now, closed in ((100.0, False), (129.0, False), (131.0, True)):
        client.protocol.overdue(now)
        assert client.closed is closed
    assert client.answer().status == 408
    assert client.inference.calls == []


async def test_idle_connection_is_closed_without_a_word() -> None:
    client = await connection(idle_seconds=75.0)
    client.receive(client.request())
    for now, closed in ((100.0, False), (174.0, False), (176.0, True)):
        client.protocol.overdue(now)
        assert client.closed is closed
    assert len(client.answers()) == 1


async def test_slow_answer_of_ours_is_never_overdue() -> None:
    client = await connection(hold=True)
    client.receive(client.request())
    for now in (100.0, 10_000.0):
        client.protocol.overdue(now)
    assert not client.closed


async def test_client_that_disconnects_cancels_its_request() -> None:
    client = await connection(hold=True)
    client.receive(client.request())
    client.protocol.connection_lost(None)
    assert client.inference.told == ["cancel"]


async def test_client_that_disconnects_after_its_answer_cancels_nothing() -> None:
    client = await connection()
    client.receive(client.request())
    client.protocol.connection_lost(None)
    assert client.inference.told == []


async def test_slow_reader_pauses_its_request_and_resumes_it() -> None:
    client = await connection(hold=True)
    client.receive(client.request())
    client.protocol.pause_writing()
    client.protocol.resume_writing()
    assert client.inference.told == ["pause", "resume"]
