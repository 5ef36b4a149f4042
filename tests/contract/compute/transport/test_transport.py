"""What every transport owes the pipeline, whatever carries its bytes: asked of each member of the family on disk."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from penstock.compute.transport import TRANSPORTS, WorkerLink
from penstock.domain.ports import Transport
from penstock.domain.workers import ModelOffer, WorkerKind, WorkerLoad, WorkerRecord
from tests.support.gateway import CHAT, MODEL, Client, ScriptedServer, full_stream, reply, token_event, well
from tests.support.waiting import until
from tests.unit.net.memory_transport import Heard

MEMBERS = TRANSPORTS.names()
SILENCE = 0.4
BODY = b'{"model":"scripted"}'


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    one = ScriptedServer(well)
    await one.open()
    yield one
    await one.close()


@pytest.fixture
def record(server: ScriptedServer) -> WorkerRecord:
    offers = (ModelOffer(MODEL),)
    return WorkerRecord("wrk_1", "one", WorkerKind.WORKER, "sim", server.url, offers, 4, secret="s" * 32)


@pytest.fixture(params=MEMBERS)
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    one: Any = TRANSPORTS.member(request.param)(1.0, SILENCE, SILENCE)
    one.open()
    yield one
    one.close()


async def sent(transport: Transport, record: WorkerRecord) -> Heard:
    heard = Heard()
    transport.send(record, CHAT, "req_1", BODY, heard)
    await heard.ended()
    return heard


async def test_a_request_arrives_as_it_was_given(transport: Transport, record: WorkerRecord, server: ScriptedServer) -> None:
    heard = await sent(transport, record)
    assert (heard.status, heard.body, heard.ending) == (200, reply(), "end")
    (request,) = server.requests
    assert (request.method, request.path, request.body) == (b"POST", CHAT.encode(), BODY)
    assert request.headers[b"authorization"] == b"Bearer " + b"s" * 32
    assert request.headers[b"x-request-id"] == b"req_1"
    assert request.headers[b"content-type"] == b"application/json"


async def test_a_base_url_with_a_path(transport: Transport, record: WorkerRecord, server: ScriptedServer) -> None:
    await sent(transport, replace(record, base_url=f"{server.url}/behind/a/proxy"))
    assert server.requests[0].path == b"/behind/a/proxy" + CHAT.encode()


async def test_stream_chunk_is_delivered_before_the_next_one_is_produced(
    transport: Transport, record: WorkerRecord, server: ScriptedServer
) -> None:
    async def by_and_by(client: Client) -> None:
        first, *rest = full_stream(3)
        await client.begin_stream()
        await client.chunk(first)
        await client.go.wait()
        for one in rest:
            await client.chunk(one)
        await client.end_stream()

    server.script = by_and_by
    heard = Heard()
    transport.send(record, CHAT, "req_1", BODY, heard)
    await until(lambda: heard.body)
    assert heard.body == full_stream(3)[0]
    server.requests[0].go.set()
    assert await heard.ended() == "end"
    assert heard.body == b"".join(full_stream(3))


async def test_a_worker_that_is_not_there(transport: Transport, record: WorkerRecord, server: ScriptedServer) -> None:
    await server.close()
    assert (await sent(transport, record)).ending == "connect"


async def test_silent_worker_fails_the_call(transport: Transport, record: WorkerRecord, server: ScriptedServer) -> None:
    async def silent(client: Client) -> None:
        await client.until_gone()

    async def stuck(client: Client) -> None:
        await client.begin_stream()
        await client.chunk(token_event("a"))
        await client.until_gone()

    for script in (silent, stuck):
        server.script = script
        heard = Heard()
        transport.send(record, CHAT, "req_1", BODY, heard)
        assert await heard.ended(SILENCE + 1.0) == "timeout"
        await asyncio.wait_for(server.requests[-1].gone.wait(), 1.0)


async def test_cancelled_call_closes_its_connection_and_reports_nothing(
    transport: Transport, record: WorkerRecord, server: ScriptedServer
) -> None:
    async def stuck(client: Client) -> None:
        await client.begin_stream()
        await client.chunk(token_event("a"))
        await client.until_gone()

    server.script = stuck
    heard = Heard()
    exchange = transport.send(record, CHAT, "req_1", BODY, heard)
    await heard.begun.wait()
    exchange.cancel()
    exchange.cancel()
    exchange.pause()
    exchange.resume()
    await asyncio.wait_for(server.requests[0].gone.wait(), 1.0)
    assert heard.endings == []


async def test_a_changed_address_or_secret_counts_for_the_next_request(
    transport: Transport, record: WorkerRecord, server: ScriptedServer
) -> None:
    await sent(transport, record)
    await sent(transport, replace(record, secret="t" * 32))
    assert [request.headers[b"authorization"][-1:] for request in server.requests] == [b"s", b"t"]
    other = ScriptedServer(well)
    await other.open()
    await sent(transport, replace(record, base_url=other.url, secret="t" * 32))
    assert (len(server.requests), len(other.requests)) == (2, 1)
    await other.close()


async def test_forget_closes_idle_connections_and_spares_those_in_use(
    transport: Transport, record: WorkerRecord, server: ScriptedServer
) -> None:
    async def waits(client: Client) -> None:
        await client.go.wait()
        await client.answer(200, reply())

    await sent(transport, record)
    server.script = waits
    heard, idle = Heard(), Heard()
    transport.send(record, CHAT, "req_1", BODY, heard)
    transport.send(record, CHAT, "req_2", BODY, idle)
    await until(lambda: len(server.requests) == 3)
    server.requests[2].go.set()
    await idle.ended()
    transport.forget(record.id)
    transport.forget("nobody")
    await until(lambda: server.open_connections == 1)
    server.requests[1].go.set()
    assert await heard.ended() == "end"
    await until(lambda: server.open_connections == 0)


# --- the link --------------------------------------------------------------------------------------------------------------


class Signs:
    """What a link tells."""

    def __init__(self) -> None:
        self.loads: list[tuple[WorkerLoad | None, bool]] = []
        self.losses = 0

    def sign(self, load: WorkerLoad | None, draining: bool) -> None:
        self.loads.append((load, draining))

    def lost(self, reason: str) -> None:
        self.losses += 1


class LinkServer:
    """A worker's link, line by line."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.heads: list[bytes] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        self.writers.append(writer)
        self.say(b'{"type":"hello","worker_id":"w","slots":4,"models":[]}\n')

    def say(self, data: bytes) -> None:
        self.writers[-1].write(b"%x\r\n%b\r\n" % (len(data), data))


@pytest.fixture
async def link() -> AsyncIterator[tuple[LinkServer, Signs, WorkerLink]]:
    server, signs = LinkServer(), Signs()
    await server.open()
    record = WorkerRecord("w", "w", WorkerKind.WORKER, "sim", f"http://127.0.0.1:{server.port}", (), 4, secret="s" * 32)
    one = WorkerLink(record, signs.sign, signs.lost, 1.0, 1.5)
    one.open()
    await until(lambda: signs.loads)
    yield server, signs, one
    one.close()
    await server.close()


async def test_every_link_line_is_a_sign_of_life(link: tuple[LinkServer, Signs, WorkerLink]) -> None:
    server, signs, _ = link
    assert b"authorization: Bearer " + b"s" * 32 in server.heads[0]
    server.say(b'{"type":"load","running":2,"waiting":1,"kv_usage":0.5,"draining":false}\n{"type":"load","dra')
    server.say(b'ining":true}\nrubbish\n{"type":"news of a later version","x":1}\n')
    await until(lambda: len(signs.loads) == 4)
    assert signs.loads == [(None, False), (WorkerLoad(2, 1, 0.5), False), (WorkerLoad(), True), (None, False)]


async def test_a_line_without_an_end_is_bounded(link: tuple[LinkServer, Signs, WorkerLink]) -> None:
    server, signs, one = link
    for _ in range(10):
        server.say(b"x" * 60_000)
    server.say(b'\n{"type":"load"}\n')
    await until(lambda: signs.loads[-1][0] is not None)
    assert len(one._rest) < 70_000


async def test_broken_link_is_reported_at_once_and_reconnected(link: tuple[LinkServer, Signs, WorkerLink]) -> None:
    server, signs, _ = link
    server.writers[0].transport.abort()
    await until(lambda: signs.losses == 1, 0.5)
    await until(lambda: len(server.writers) == 2, 2.0)
    await until(lambda: len(signs.loads) == 2)
    await server.close()
    await until(lambda: signs.losses >= 3, 5.0)
    await server.open()
    await until(lambda: len(signs.loads) == 3, 5.0)


async def test_silent_link_counts_as_broken(link: tuple[LinkServer, Signs, WorkerLink]) -> None:
    _, signs, _ = link
    await until(lambda: signs.losses == 1, 4.0)


async def test_closed_link_reports_nothing_more(link: tuple[LinkServer, Signs, WorkerLink]) -> None:
    server, signs, one = link
    one.close()
    server.writers[0].transport.abort()
    await until(lambda: server.writers[0].is_closing())
    assert (signs.losses, len(server.writers)) == (0, 1)
