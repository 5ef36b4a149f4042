"""Calls to one address over real sockets, to servers that behave and servers that do not."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from penstock.net.dialer import Dialer
from penstock.net.reach import Reach
from tests.support.gateway import Client, Script, ScriptedServer
from tests.support.waiting import until
from tests.unit.net.memory_transport import Heard

POST = b"POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"


async def fine(client: Client) -> None:
    await client.answer(200, b"fine")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    one = ScriptedServer(fine)
    await one.open()
    yield one
    await one.close()


@pytest.fixture
async def dialer(server: ScriptedServer) -> AsyncIterator[Dialer]:
    one = Dialer(server.url, connect_seconds=1.0)
    yield one
    one.close()
    await until(lambda: not one._open, explain=lambda: one._open)


async def call(dialer: Dialer) -> Heard:
    heard = Heard()
    dialer.call(POST, heard)
    await heard.ended()
    return heard


async def test_idle_connection_is_reused(server: ScriptedServer, dialer: Dialer) -> None:
    for _ in range(5):
        heard = await call(dialer)
        assert (heard.status, heard.body, heard.ending) == (200, b"fine", "end")
    assert server.connections == 1


async def test_calls_at_the_same_time_have_connections_of_their_own(server: ScriptedServer, dialer: Dialer) -> None:
    answers = await asyncio.gather(*(call(dialer) for _ in range(20)))
    assert [heard.ending for heard in answers] == ["end"] * 20
    assert server.connections == 20
    await asyncio.gather(*(call(dialer) for _ in range(20)))
    assert server.connections == 20


async def test_only_so_many_idle_connections_are_kept(server: ScriptedServer) -> None:
    dialer = Dialer(server.url, 1.0, idle_connections=3)
    await asyncio.gather(*(call(dialer) for _ in range(10)))
    await until(lambda: server.open_connections == 3, explain=lambda: server.open_connections)
    dialer.close()
    await until(lambda: server.open_connections == 0)


async def test_refused_connection_fails_the_call() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert (await call(Dialer(f"http://127.0.0.1:{port}", 1.0))).ending == "connect"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "a" * 70 + ".example"])
async def test_unresolvable_host_fails_the_call(host: str) -> None:
    assert (await call(Dialer(f"http://{host}:80", 3.0))).ending == "connect"


async def test_server_that_never_accepts_fails_at_the_connect_timeout() -> None:
    """Its backlog is full: the handshake gets no answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        try:
            assert (await call(Dialer(f"http://127.0.0.1:{port}", 0.2))).ending == "timeout"
        finally:
            for filler in fillers:
                filler.close()


async def test_tls_to_a_plain_server_fails_the_call(server: ScriptedServer) -> None:
    assert (await call(Dialer(server.url.replace("http:", "https:"), 1.0))).ending in ("connect", "timeout")


async def accept_and_reset(client: Client) -> None:
    client.reset()


async def hang_up(client: Client) -> None:
    client.writer.close()


@pytest.mark.parametrize("script", [accept_and_reset, hang_up], ids=["reset", "closed"])
async def test_a_broken_new_connection_is_a_failure(server: ScriptedServer, dialer: Dialer, script: Script) -> None:
    server.script = script
    for _ in range(20):
        assert (await call(dialer)).ending == "reset"
    assert server.connections == 20


@pytest.mark.parametrize("script", [accept_and_reset, hang_up], ids=["reset", "closed"])
async def test_a_kept_connection_that_breaks_gets_one_more_try(server: ScriptedServer, dialer: Dialer, script: Script) -> None:
    """However many idle connections there are: the server must not see one request again and again."""
    await asyncio.gather(*(call(dialer) for _ in range(10)))
    server.script = script
    before = len(server.requests)
    assert (await call(dialer)).ending == "reset"
    assert len(server.requests) - before == 2


async def test_a_server_that_was_restarted_is_not_noticed(server: ScriptedServer, dialer: Dialer) -> None:
    await asyncio.gather(*(call(dialer) for _ in range(5)))
    await server.close()
    await server.open()
    assert (await call(dialer)).ending == "end"


async def test_connections_that_are_reset_as_soon_as_they_are_open() -> None:
    """As a proxy without anything behind it does; some of them break between connecting and sending."""

    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        Client(reader, writer).reset()

    listener = await asyncio.start_server(slam, "127.0.0.1", 0)
    dialer = Dialer(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", 1.0)
    answers = await asyncio.gather(*(call(dialer) for _ in range(100)))
    assert {heard.ending for heard in answers} <= {"reset", "connect"}
    listener.close()
    await until(lambda: not dialer._open)


async def test_call_cancelled_before_its_connection_opens_reports_nothing(server: ScriptedServer, dialer: Dialer) -> None:
    heard = Heard()
    dialer.call(POST, heard).cancel()
    assert (await call(dialer)).ending == "end"
    assert heard.endings == []
    assert len(server.requests) == 1


async def test_call_cancelled_in_mid_answer_closes_its_connection(server: ScriptedServer, dialer: Dialer) -> None:
    async def half(client: Client) -> None:
        await client.begin_stream()
        await client.chunk(b"hello")
        await client.until_gone()

    server.script = half
    heard = Heard()
    exchange = dialer.call(POST, heard)
    await heard.begun.wait()
    exchange.cancel()
    async with asyncio.timeout(1.0):
        await server.requests[0].gone.wait()
    assert heard.endings == []


async def test_a_late_cancel_does_not_touch_the_next_call(server: ScriptedServer, dialer: Dialer) -> None:
    first = Heard()
    exchange = dialer.call(POST, first)
    await first.ended()
    second = Heard()
    dialer.call(POST, second)
    exchange.cancel()
    assert await second.ended() == "end"
    assert server.connections == 1


async def test_silence_before_the_first_byte_and_in_mid_answer(server: ScriptedServer, dialer: Dialer) -> None:
    async def silent(client: Client) -> None:
        await client.until_gone()

    async def stuck(client: Client) -> None:
        await client.begin_stream()
        await client.chunk(b"hello")
        await client.until_gone()

    for script, limits in ((silent, (0.0, 100.0)), (stuck, (100.0, 0.0))):
        server.script = script
        heard = Heard()
        dialer.call(POST, heard)
        await until(lambda: dialer.busy)
        if script is stuck:
            await heard.begun.wait()
        dialer.check(100.0, 100.0)
        assert heard.endings == []
        await _checked(dialer, heard, *limits)
        assert heard.ending == "timeout"


async def _checked(dialer: Dialer, heard: Heard, first_byte_seconds: float, between_chunks_seconds: float) -> None:
    def check() -> bool:
        dialer.check(first_byte_seconds, between_chunks_seconds)
        return heard.over.is_set()

    await until(check)


async def test_a_paused_call_reads_no_more_and_is_not_timed_out(server: ScriptedServer, dialer: Dialer) -> None:
    sending = asyncio.Event()

    async def flood(client: Client) -> None:
        await client.begin_stream()
        await client.chunk(b"begin")
        await sending.wait()
        for _ in range(2000):
            await client.chunk(b"x" * 10_000)
        await client.end_stream()

    server.script = flood
    heard = Heard()
    exchange = dialer.call(POST, heard)
    await until(lambda: heard.body)
    exchange.pause()
    sending.set()
    client = server.requests[0]
    sent = -1
    while sent != client.sent:
        sent = client.sent
        await asyncio.sleep(0.1)
    dialer.check(0.0, 0.0)
    assert heard.endings == []
    assert len(heard.body) < 1_000_000
    assert client.sent < 12_000_000, "the server was held up"
    exchange.resume()
    dialer.check(0.5, 0.5)
    assert await heard.ended() == "end"
    assert len(heard.body) == 20_000_005


async def test_close_lets_running_calls_finish(server: ScriptedServer, dialer: Dialer) -> None:
    go = asyncio.Event()

    async def later(client: Client) -> None:
        await go.wait()
        await client.answer(200, b"fine")

    server.script = later
    heard = Heard()
    dialer.call(POST, heard)
    await server.arrived.until(lambda: server.requests)
    dialer.close()
    go.set()
    assert await heard.ended() == "end"
    await until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("url", ["ftp://a", "http://", "127.0.0.1:80", "http://a:99999"])
async def test_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Dialer(url, 1.0)


async def test_address_that_may_not_be_dialled_is_a_failure_without_a_connection(server: ScriptedServer) -> None:
    ended = await call(Dialer(server.url, 1.0, reach=Reach()))
    assert ended.ending == "connect"
    assert server.requests == []
    allowed = Dialer(server.url, 1.0, reach=Reach(["127.0.0.0/8"]))
    assert (await call(allowed)).status == 200
    allowed.close()
