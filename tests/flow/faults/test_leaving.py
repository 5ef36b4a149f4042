"""The client goes away, whenever it likes: the worker stops at once, what was used is settled, nothing stays behind."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.domain.usage import Outcome
from tests.support.gateway import Client, Platform, RawClient, ScriptedServer, platform, raw, scripted, sim_worker, token_event
from tests.support.waiting import until

PROMPT_TOKENS = 11


async def held(client: Client) -> None:
    """A script: takes the request and never answers."""
    await client.until_gone()


async def seven_tokens(client: Client) -> None:
    await client.begin_stream(x_penstock_prompt_tokens=str(PROMPT_TOKENS))
    for number in range(7):
        await client.chunk(token_event(f"t{number}"))
    await client.until_gone()


async def endless(client: Client) -> None:
    leaving = asyncio.create_task(client.until_gone())
    await client.begin_stream()
    for number in itertools.count():
        await client.chunk(token_event(f"t{number}"))
        done, _ = await asyncio.wait([leaving], timeout=0.01)
        if done:
            return


async def gone(client: Client) -> None:
    async with asyncio.timeout(1.0):
        await client.gone.wait()


@pytest.mark.fault("Client leaves in mid-stream", "the worker stops within a second, usage is settled")
async def test_in_mid_stream(gate: Platform, server: ScriptedServer) -> None:
    server.script = seven_tokens
    async with raw(gate.port) as client:
        await client.send(gate.request(stream=True))
        await client.reader.readuntil(b'"t6"')
    await gone(server.requests[0])
    await gate.until_quiet(1.0)
    (record,) = await gate.records()
    assert (record.outcome, record.prompt_tokens, record.completion_tokens) == (Outcome.CLIENT_LEFT, PROMPT_TOKENS, 7)
    assert not record.estimated


async def test_our_own_worker_stops_generating(tmp_path: Path) -> None:
    async with platform(tmp_path / "gate") as gate, sim_worker(gate, tmp_path / "worker") as worker:
        before = len(asyncio.all_tasks())
        async with raw(gate.port) as client:
            await client.send(gate.request(model="sim-small", stream=True, max_tokens=10_000))
            received = b""
            while received.count(b'"content"') < 20:
                received += await client.reader.readuntil(b"\n\n")
        assert worker.slots is not None
        async with asyncio.timeout(1.0):
            await worker.slots.until_idle()
        await gate.until_quiet(1.0)
        await until(lambda: len(asyncio.all_tasks()) <= before, 2.0, asyncio.all_tasks)
        (record,) = await gate.records()
        assert record.outcome is Outcome.CLIENT_LEFT
        assert 19 <= record.completion_tokens <= 40, "the first event carries the role"
        assert not record.estimated


async def test_before_the_first_byte(gate: Platform, server: ScriptedServer) -> None:
    server.script = held
    async with raw(gate.port) as client:
        await client.send(gate.request(stream=True))
        await server.arrived.until(lambda: server.requests)
    await gone(server.requests[0])
    await gate.until_quiet(1.0)
    (record,) = await gate.records()
    assert (record.outcome, record.completion_tokens, record.estimated) == (Outcome.CLIENT_LEFT, 0, True)


async def test_before_a_whole_answer(gate: Platform, server: ScriptedServer) -> None:
    server.script = held
    async with raw(gate.port) as client:
        await client.send(gate.request())
        await server.arrived.until(lambda: server.requests)
    await gone(server.requests[0])
    await gate.until_quiet(1.0)


async def test_while_it_waits_in_the_queue(tmp_path: Path) -> None:
    async with scripted(held) as (server,):
        upstream = {"model": "scripted", "url": server.url, "slots": 1}
        async with platform(tmp_path, [upstream], scheduling={"priority_reserve": 0.0}) as gate:
            async with raw(gate.port) as first, raw(gate.port) as second:
                await first.send(gate.request())
                await server.arrived.until(lambda: server.requests)
                await second.send(gate.request(stream=True))
                await until(lambda: gate.gateway.pipeline.queues() == {"scripted": 1})
                second.writer.close()
                await until(lambda: gate.gateway.pipeline.queues() == {"scripted": 0}, 1.0)
            await gate.until_quiet(1.0)
            assert [record.outcome for record in await gate.records()] == [Outcome.CLIENT_LEFT]
            assert len(server.requests) == 1


async def test_the_next_in_line_gets_the_slot_of_one_who_left(tmp_path: Path) -> None:
    async with scripted(seven_tokens) as (server,):
        upstream = {"model": "scripted", "url": server.url, "slots": 1}
        async with platform(tmp_path, [upstream], scheduling={"priority_reserve": 0.0}) as gate:
            async with raw(gate.port) as first, raw(gate.port) as second:
                await first.send(gate.request(stream=True))
                await first.reader.readuntil(b'"t6"')
                await second.send(gate.request(stream=True))
                await until(lambda: gate.gateway.pipeline.queues() == {"scripted": 1})
                first.writer.close()
                async with asyncio.timeout(1.0):
                    await second.reader.readuntil(b'"t6"')
            await gate.until_quiet(1.0)


async def test_with_a_second_request_behind_the_first(gate: Platform, server: ScriptedServer) -> None:
    """Pipelined: it is the request under way that must be cancelled, not the one that came last.

    Nothing is read from the client while it waits for its second answer, so it is the next token that finds it gone.
    """
    server.script = endless
    async with raw(gate.port) as client:
        await client.send(gate.request(stream=True) + gate.request(stream=True))
        await client.reader.readuntil(b'"t6"')
    await gone(server.requests[0])
    await gate.until_quiet(1.0)
    assert len(server.requests) == 1


@pytest.mark.fault("Thousands of clients leave in mid-stream", "no task, socket, slot or reservation is left")
@pytest.mark.parametrize("count", [pytest.param(200, id="bounded"), pytest.param(10_000, id="soak", marks=pytest.mark.soak)])
async def test_many_at_once_leave_nothing_behind(tmp_path: Path, server: ScriptedServer, count: int, figure: Callable[[str], None]) -> None:
    server.script = seven_tokens
    # A limit that learns would fall in a slow moment, and here nobody lets a slot go before all have one.
    async with platform(tmp_path, [server.url], routing={"adaptive_limits": False}) as gate:
        tasks = len(asyncio.all_tasks())
        for _ in range(count // 200):
            await _come_and_go(gate, server, 200)
        await until(lambda: len(asyncio.all_tasks()) <= tasks + 2, 2.0)
        records = await gate.records()
    assert len(records) == count
    assert all(4 <= record.completion_tokens <= 7 for record in records)
    figure(f"{count} clients")


async def _come_and_go(gate: Platform, server: ScriptedServer, count: int) -> None:
    """All of them read the beginning of a stream, then leave together; nothing of them may be left."""
    server.requests.clear()
    clients = [await stack_raw(gate) for _ in range(count)]
    for client in clients:
        await client.send(gate.request(stream=True))
    for client in clients:
        try:
            await client.reader.readuntil(b'"t3"')
        except asyncio.IncompleteReadError as error:
            pytest.fail(f"an answer ended early: {error.partial[-500:]!r}")
    for client in clients:
        client.writer.transport.abort()
    await gate.until_quiet(2.0)
    await until(lambda: all(one.gone.is_set() for one in server.requests), 2.0)


async def stack_raw(gate: Platform) -> RawClient:
    return RawClient(*await asyncio.open_connection("127.0.0.1", gate.port, limit=1 << 20))
