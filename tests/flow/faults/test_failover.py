"""More than one server: another takes over while nothing has gone to the client, the bad ones rest, and retries stay few."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from penstock.domain.usage import Outcome
from tests.support.gateway import MODEL, Client, Platform, Script, platform, raw, reply, scripted, sim_worker, token_event, well
from tests.support.waiting import until

EJECT_SECONDS = 1.2
ROUTING = {"eject_seconds": EJECT_SECONDS, "eject_share": 0.5}


async def resets(client: Client) -> None:
    client.reset()


async def errs(client: Client) -> None:
    await client.answer(500, b"{}")


async def busy(client: Client) -> None:
    await client.answer(429, b"{}")


async def unavailable(client: Client) -> None:
    await client.answer(503, b"{}")


async def html(client: Client) -> None:
    await client.answer(200, b"<html>", "text/html")


@pytest.mark.parametrize("script", [resets, errs, busy, unavailable, html], ids=lambda script: script.__name__)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_failed_request_is_answered_by_another_worker(tmp_path: Path, script: Script, stream: bool) -> None:
    async with scripted(script, well) as (bad, good), platform(tmp_path, [bad.url, good.url], routing={"eject_after": 1000}) as gate:
        for _ in range(20):
            response = await gate.chat(stream=stream)
            assert response.status_code == 200, response.text
        await gate.until_quiet()
        assert bad.requests
        assert len(good.requests) == 20
        assert {record.outcome for record in await gate.records()} == {Outcome.COMPLETED}
        assert sum(record.retries for record in await gate.records()) == len(bad.requests)


async def test_a_busy_worker_is_not_a_bad_one(tmp_path: Path) -> None:
    async with scripted(busy, well) as (full, good), platform(tmp_path, [full.url, good.url], routing=ROUTING) as gate:
        for _ in range(30):
            assert (await gate.chat()).status_code == 200
        assert len(full.requests) > 5
        assert [member.ejected_until for member in gate.gateway.workers.members()] == [0.0, 0.0]


@pytest.mark.fault("Worker fails again and again", "ejected after five failures in a row, for a while; never the last one")
async def test_five_failures_in_a_row_eject_a_worker_for_a_while(tmp_path: Path) -> None:
    async with scripted(errs, well) as (bad, good), platform(tmp_path, [bad.url, good.url], routing=ROUTING) as gate:
        for _ in range(40):
            assert (await gate.chat()).status_code == 200
        assert len(bad.requests) == 5
        assert gate.gateway.metrics.ejections == 1
        bad.script = well
        await until(lambda: all(not member.ejected_until for member in gate.gateway.workers.members()), EJECT_SECONDS + 3)
        for _ in range(20):
            assert (await gate.chat()).status_code == 200
        assert len(bad.requests) > 5
        assert len(good.requests) < 60


async def test_the_only_worker_is_ejected_and_used_all_the_same(tmp_path: Path) -> None:
    """A doubtful worker is better than none."""
    async with scripted(errs) as (server,), platform(tmp_path, [server.url], routing=ROUTING) as gate:
        for _ in range(10):
            assert (await gate.chat()).status_code == 502
        server.script = well
        assert (await gate.chat()).status_code == 200


@pytest.mark.fault("Worker killed before the first byte", "another worker answers")
async def test_a_worker_killed_before_the_first_byte(tmp_path: Path) -> None:
    """Both have the request in their hands when one of them dies."""
    held = asyncio.Event()

    async def hold(client: Client) -> None:
        await held.wait()
        await well(client)

    async with scripted(hold, hold) as servers, platform(tmp_path, [server.url for server in servers]) as gate:
        asked = [asyncio.create_task(gate.chat(stream=number % 2 == 0)) for number in range(6)]
        await until(lambda: sum(len(server.requests) for server in servers) == 6 and all(server.requests for server in servers))
        await servers[0].close()
        held.set()
        responses = await asyncio.gather(*asked)
        assert Counter(response.status_code for response in responses) in (Counter({200: 6}), Counter({200: 5, 502: 1}))
        await gate.until_quiet()


@pytest.mark.fault("Worker dies in mid-stream", "one error event; known dead at once")
async def test_our_own_worker_dies_in_mid_stream(tmp_path: Path) -> None:
    async with platform(tmp_path / "gate") as gate:
        async with sim_worker(gate, tmp_path / "worker"), raw(gate.port) as client:
            await gate.http.get("/livez")
            await client.send(gate.request(model="sim-small", stream=True, max_tokens=5000))
            received = b""
            while received.count(b'"content"') < 10:
                received += await client.reader.readuntil(b"\n\n")
            for member in gate.gateway.workers.members():
                for connection in list(gate.gateway.transport._routes[member.id].dialer._open):
                    connection.fail("reset", "as if the process were gone")
            rest = await client.reader.readuntil(b"0\r\n\r\n")
        assert rest.count(b'"error"') == 1
        assert b"[DONE]" not in rest
        await gate.until_quiet()
        (record,) = await gate.records()
        assert record.outcome is Outcome.FAILED
        assert record.completion_tokens >= 9


# --- how many retries ------------------------------------------------------------------------------------------------


async def _load(gate: Platform, clients: int, requests: int) -> Counter[int]:
    """So many requests by so many clients at the same time; the statuses."""
    statuses: Counter[int] = Counter()

    async def client() -> None:
        async with raw(gate.port) as one:
            for _ in range(requests // clients):
                await one.send(gate.request())
                statuses[(await one.answer()).status] += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return statuses


@pytest.mark.parametrize("clients", [50, 200])
@pytest.mark.fault("Every worker fails", "retries stay within 20 % of the requests")
async def test_retries_do_not_feed_an_outage(tmp_path: Path, clients: int) -> None:
    """Every worker fails: what they get is at most a fifth more than what was asked for."""

    async def fails(client: Client) -> None:
        await asyncio.sleep(0.01)
        await client.answer(500, b"{}")

    async with scripted(fails, fails, fails, fails) as servers, platform(tmp_path, [server.url for server in servers]) as gate:
        assert await _load(gate, clients, 2000) == {502: 2000}
        sent = sum(len(server.requests) for server in servers)
        assert 2000 < sent <= 2400, sent / 2000
        await gate.until_quiet()


async def test_a_few_requests_may_always_be_tried_again(tmp_path: Path) -> None:
    async with scripted(errs, errs, well) as servers:
        quiet = {"eject_after": 1000}
        async with platform(tmp_path, [server.url for server in servers], routing=quiet) as gate:
            statuses = [(await gate.chat()).status_code for _ in range(30)]
        assert statuses == [200] * 30


async def test_a_retried_request_that_must_wait_is_served_in_the_end(tmp_path: Path) -> None:
    """Its second worker is full at the moment."""
    go = asyncio.Event()

    async def slow(client: Client) -> None:
        await go.wait()
        await client.answer(200, reply())

    async with scripted(resets, slow) as (bad, good):
        listed = [{"model": MODEL, "url": bad.url, "slots": 1}, {"model": MODEL, "url": good.url, "slots": 1}]
        async with platform(tmp_path, listed, scheduling={"priority_reserve": 0.0}, routing={"eject_after": 1000}) as gate:
            asked = [asyncio.create_task(gate.chat()) for _ in range(3)]
            await until(lambda: good.requests and bad.requests and gate.gateway.pipeline.queues()[MODEL] >= 1)
            go.set()
            assert [response.status_code for response in await asyncio.gather(*asked)] == [200] * 3
            await gate.until_quiet()


async def test_a_keepalive_before_a_failure_leaves_one_error_event(tmp_path: Path) -> None:
    """The client has its 200 already: the refusal comes as an event, and nothing after it."""

    async def late(client: Client) -> None:
        await client.go.wait()
        client.reset()

    early = {"keepalive_after_seconds": 0.1, "keepalive_every_seconds": 0.1}
    async with scripted(late) as (server,), platform(tmp_path, [server.url], scheduling=early) as gate, raw(gate.port) as client:
        await client.send(gate.request(stream=True))
        await client.reader.readuntil(b": keepalive\n\n")
        server.requests[0].go.set()
        rest = await client.reader.readuntil(b"0\r\n\r\n")
        assert rest.count(b"data: ") == 1
        assert b'"code":"upstream_error"' in rest
        await gate.until_quiet()


async def test_a_stream_that_waited_long_comes_after_its_comments(tmp_path: Path) -> None:
    async def late(client: Client) -> None:
        await client.begin_stream()
        await client.go.wait()
        await client.chunk(token_event("late"))
        await client.chunk(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
        await client.end_stream()

    early = {"keepalive_after_seconds": 0.1, "keepalive_every_seconds": 0.1}
    async with scripted(late) as (server,), platform(tmp_path, [server.url], scheduling=early) as gate, raw(gate.port) as client:
        await client.send(gate.request(stream=True))
        await client.reader.readuntil(b": keepalive\n\n")
        server.requests[0].go.set()
        rest = await client.reader.readuntil(b"0\r\n\r\n")
        assert rest.index(b'"late"') < rest.index(b"data: [DONE]")
        assert b"keepalive" not in rest[rest.index(b'"late"') :]
        await gate.until_quiet()
