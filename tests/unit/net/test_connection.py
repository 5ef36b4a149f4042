"""One connection, fed with bytes: whatever comes, its call hears exactly one ending."""

from collections.abc import Callable
from random import Random

import pytest

from tests.unit.net.memory_transport import Heard, connected
from tests.unit.wire.mutations import COUNTS, mutations, pieces

REQUEST = b"POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
BODY = b'{"choices":[]}'
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n" + BODY
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nX-Trailer: 1\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + WHOLE
UNFRAMED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
SAMPLES = [WHOLE, CHUNKED, INTERIM, UNFRAMED, EMPTY, b"HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"]


@pytest.mark.parametrize(
    ("response", "status", "body"),
    [(WHOLE, 200, BODY), (CHUNKED, 200, b"hello, world"), (INTERIM, 200, BODY), (EMPTY, 204, b"")],
    ids=["length", "chunked", "interim", "empty"],
)
async def test_answer_in_any_pieces_is_reported_whole(response: bytes, status: int, body: bytes) -> None:
    for seed in range(50):
        connection, wire, home = connected()
        heard = Heard()
        connection.start(REQUEST, heard, heard)
        assert wire.written == REQUEST
        for piece in pieces(response, Random(seed)):
            connection.data_received(piece)
        assert (heard.status, heard.body, heard.ending) == (status, body, "end")
        assert home.kept == [connection]
        assert connection.usable


async def test_names_of_headers_come_in_lower_case() -> None:
    connection, _, _ = connected()
    heard = Heard()
    connection.start(REQUEST, heard, heard)
    connection.data_received(WHOLE)
    assert heard.headers == [(b"content-type", b"application/json"), (b"content-length", b"14")]


async def test_connection_serves_two_exchanges_in_turn() -> None:
    connection, _, home = connected()
    for response, body in ((CHUNKED, b"hello, world"), (WHOLE, BODY), (CHUNKED, b"hello, world")):
        heard = Heard()
        connection.start(REQUEST, heard, heard)
        connection.data_received(response)
        assert (heard.body, heard.ending) == (body, "end")
    assert (len(home.kept), connection.exchanges) == (3, 3)


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ],
)
async def test_a_connection_that_the_server_will_close_is_not_kept(response: bytes) -> None:
    connection, wire, home = connected()
    heard = Heard()
    connection.start(REQUEST, heard, heard)
    connection.data_received(response)
    assert (heard.ending, home.kept, wire.closed) == ("end", [], True)


async def test_without_a_length_the_end_of_the_connection_is_the_end() -> None:
    connection, _, home = connected()
    heard = Heard()
    connection.start(REQUEST, heard, heard)
    connection.data_received(UNFRAMED)
    assert heard.endings == []
    connection.connection_lost(None)
    assert (heard.body, heard.ending) == (b"data: {}\n\n", "end")
    assert (home.kept, home.lost) == ([], [connection])


@pytest.mark.parametrize(
    ("received", "error"),
    [
        (b"", None),
        (b"HTTP/1.1 20", None),
        (WHOLE[:-1], None),
        (CHUNKED[:-4], None),
        (CHUNKED[:60], ConnectionResetError()),
        (UNFRAMED, ConnectionResetError()),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
    ],
    ids=["nothing", "half a line", "short body", "no last chunk", "reset in a chunk", "reset without a length", "only interim"],
)
async def test_a_connection_that_ends_too_early(received: bytes, error: Exception | None) -> None:
    connection, _, _ = connected()
    heard = Heard()
    connection.start(REQUEST, heard, heard)
    if received:
        connection.data_received(received)
    connection.connection_lost(error)
    assert heard.ending == "reset"


@pytest.mark.parametrize(
    "received",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"<html>",
        WHOLE + b"more than was announced",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: nine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-long: " + b"a" * 5000,
    ],
    ids=["ssh", "html", "too much", "two framings", "no number", "huge number", "no chunk", "nul", "upgrade", "endless head"],
)
async def test_answer_that_is_not_http_fails_the_exchange(received: bytes) -> None:
    connection, wire, home = connected()
    heard = Heard()
    connection.start(REQUEST, heard, heard)
    connection.data_received(received)
    assert (heard.ending, wire.closed, home.kept) == ("protocol", True, [])


async def test_a_body_of_an_interim_answer_does_not_become_part_of_the_real_one() -> None:
    connection, _, _ = connected()
    heard = Heard()
    connection.start(REQUEST, heard, heard)
    connection.data_received(b"HTTP/1.1 099 Odd\r\ncontent-length: 5\r\n\r\nwrong" + WHOLE)
    assert (heard.status, heard.body, heard.ending) == (200, BODY, "end")


async def test_unsolicited_bytes_end_the_connection() -> None:
    connection, wire, _ = connected()
    heard = Heard()
    connection.start(REQUEST, heard, heard)
    connection.data_received(WHOLE)
    connection.data_received(WHOLE)
    assert (heard.ending, wire.closed, connection.usable) == ("end", True, False)


async def test_abandoned_exchange_reports_nothing() -> None:
    connection, wire, _ = connected()
    heard = Heard()
    connection.start(REQUEST, heard, heard)
    connection.data_received(CHUNKED[:60])
    connection.abandon()
    connection.data_received(CHUNKED[60:])
    connection.connection_lost(None)
    assert (heard.endings, wire.closed) == ([], True)


async def test_a_pause_lasts_no_longer_than_its_exchange() -> None:
    connection, wire, _ = connected()
    heard = Heard()
    connection.start(REQUEST, heard, heard)
    connection.data_received(CHUNKED[:60])
    connection.pause()
    assert not wire.reading
    connection.data_received(CHUNKED[60:])  # it was on its way already
    assert (heard.ending, wire.reading) == ("end", True)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.fault("Mutated HTTP answers", "each exchange ends exactly once")
async def test_mutations_of_answers_end_exactly_once(count: int, figure: Callable[[str], None]) -> None:
    random = Random(1)
    for response in mutations(SAMPLES, count):
        connection, _, _ = connected()
        heard = Heard()
        connection.start(REQUEST, heard, heard)
        for piece in pieces(response, random):
            connection.data_received(piece)
        if connection.busy:
            connection.connection_lost(random.choice([None, ConnectionResetError()]))
        assert len(heard.endings) == 1, response
    figure(f"{count:,} mutations")
