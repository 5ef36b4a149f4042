"""What this field's issue trackers say of routers, by the issue's name: each of them must not happen here."""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

from penstock.compute.worker import Worker, WorkerPlan
from penstock.domain.workers import WorkerState
from tests.support.gateway import MODEL, Client, Platform, data_events, platform, reply, scripted, sim_worker, token_event, well
from tests.support.waiting import until

QUICK: dict[str, Any] = {"probe_seconds": 0.05, "connect_seconds": 1.0, "first_byte_seconds": 0.4, "between_chunks_seconds": 0.4}
SOON: dict[str, Any] = {"suspect_seconds": 0.5, "dead_seconds": 1.0, "eject_seconds": 60.0, "eject_share": 0.5}


async def errs(client: Client) -> None:
    await client.answer(500, b"{}")


async def hangs(client: Client) -> None:
    """It takes the request and says nothing, until the gateway gives up."""
    await client.until_gone()


async def statuses(gate: Platform, count: int, **fields: Any) -> Counter[int]:
    return Counter([(await gate.chat(**fields)).status_code for _ in range(count)])


async def test_gpustack_6231_a_worker_that_recovers_is_reachable_again(tmp_path: Path) -> None:
    """It was dead for long enough to be given up, and answers again: nobody has to tell the gateway."""
    async with scripted(well) as (server,), platform(tmp_path, [server.url], upstream=QUICK, routing=SOON) as gate:
        await server.close()
        await until(lambda: gate.member().state in (WorkerState.SUSPECT, WorkerState.DEAD))
        assert (await gate.chat()).status_code == 503
        await server.open()
        await until(lambda: gate.member().state is WorkerState.READY)
        assert await statuses(gate, 10) == {200: 10}
        assert gate.member().limit == gate.member().slots, "and the only one is not held back"


async def test_gpustack_5935_a_mass_of_silent_workers_is_our_own_fault(tmp_path: Path) -> None:
    """All vanish together: none is declared dead, and all serve again at once and in full when they answer."""
    several = scripted(well, well, well, well)
    async with several as servers, platform(tmp_path, [each.url for each in servers], upstream=QUICK, routing=SOON) as gate:
        members = gate.gateway.workers.members()
        for server in servers:
            server.answers_probes = False
        await until(lambda: all(member.state is WorkerState.SUSPECT for member in members))
        await until(lambda: all(gate.gateway.clock.monotonic() - member.last_sign > 1.3 for member in members))
        gate.gateway.workers.sweep()
        assert {member.state for member in members} == {WorkerState.SUSPECT}
        for server in servers:
            server.answers_probes = True
        await until(lambda: all(member.state is WorkerState.READY for member in members))
        assert all(member.limit == member.slots for member in members)
        assert await statuses(gate, 20) == {200: 20}


async def test_production_stack_420_a_dead_replica_gets_no_traffic(tmp_path: Path) -> None:
    async with scripted(well, well) as (dying, good), platform(tmp_path, [dying.url, good.url], upstream=QUICK, routing=SOON) as gate:
        await dying.close()
        await until(lambda: sum(member.state is WorkerState.READY for member in gate.gateway.workers.members()) == 1)
        seen = len(dying.requests)
        assert await statuses(gate, 20) == {200: 20}
        assert (len(dying.requests), len(good.requests) >= 20) == (seen, True)
        assert {record.retries for record in await gate.records()} == {0}


async def test_production_stack_619_a_replica_that_is_loading_gets_no_traffic(tmp_path: Path) -> None:
    """It listens but does not list its model yet: it has never been ready."""
    async with scripted(well, well) as (good, loading):
        loading.answers_probes = False
        async with platform(tmp_path, [good.url], upstream=QUICK) as gate:
            added = await gate.http.post("/api/workers", json={"name": "loading", "base_url": loading.url, "models": [MODEL], "slots": 8})
            assert added.status_code == 201, added.text
            assert await statuses(gate, 20) == {200: 20}
            assert loading.requests == []
            assert gate.member("loading").state is WorkerState.JOINING
            loading.answers_probes = True
            await until(lambda: gate.member("loading").state is WorkerState.READY)
            await until_both_serve(gate, loading.requests)


async def until_both_serve(gate: Platform, requests: list[Client]) -> None:
    for _ in range(50):
        assert (await gate.chat()).status_code == 200
        if requests:
            return
    raise AssertionError("the worker that has loaded gets nothing")


async def test_production_stack_749_one_hung_backend_does_not_hang_the_router(tmp_path: Path) -> None:
    """It takes connections and requests and answers none: others are served meanwhile, its requests elsewhere, and it is ejected."""
    async with scripted(hangs, well) as (hung, good):
        routing = SOON | {"retry_floor": 100}
        async with platform(tmp_path, [hung.url, good.url], upstream=QUICK, routing=routing) as gate:
            async with asyncio.timeout(10):
                answers = await asyncio.gather(*(gate.chat() for _ in range(40)))
            assert Counter(answer.status_code for answer in answers) == {200: 40}
            assert hung.requests, "it did get some"
            assert gate.gateway.metrics.ejections == 1
            known = len(hung.requests)
            async with asyncio.timeout(2):
                assert await statuses(gate, 20) == {200: 20}
            assert len(hung.requests) == known
            await gate.until_quiet()


async def test_a_stream_that_stalls_counts_against_its_worker(tmp_path: Path) -> None:
    """Time-outs between chunks eject as failures before the first byte do; the client gets one error event."""

    async def stalls(client: Client) -> None:
        await client.begin_stream()
        await client.chunk(token_event("and then"))
        await client.until_gone()

    async with scripted(stalls) as (server,), platform(tmp_path, [server.url], upstream=QUICK, routing=SOON) as gate:
        answers = await asyncio.gather(*(gate.chat(stream=True) for _ in range(5)))
        for answer in answers:
            assert '"error"' in data_events(answer.content)[-1]
        assert gate.gateway.metrics.ejections == 1
        await gate.until_quiet()


async def test_production_stack_382_a_failed_request_is_tried_elsewhere(tmp_path: Path) -> None:
    async with scripted(errs, well) as (bad, good), platform(tmp_path, [bad.url, good.url]) as gate:
        assert await statuses(gate, 20) == {200: 20}
        assert bad.requests, "it was asked too"
        assert len(good.requests) == 20


async def test_dynamo_7836_affinity_starves_no_worker(tmp_path: Path) -> None:
    """All prompts begin alike and one worker has them: while it is busy the others get their share."""
    go = asyncio.Event()

    async def held(client: Client) -> None:
        await go.wait()
        await client.answer(200, reply())

    async with scripted(held, held, held) as servers:
        routing = {"policy": "prefix_affinity", "adaptive_limits": False}
        async with platform(tmp_path, [server.url for server in servers], routing=routing) as gate:
            asked = [asyncio.create_task(gate.chat(messages=prompt(number))) for number in range(30)]
            await until(lambda: sum(len(server.requests) for server in servers) == 30)
            shares = sorted(len(server.requests) for server in servers)
            go.set()
            assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
        assert shares[0] >= 7
        assert shares[-1] <= 1.25 * 10 + 1


async def test_sglang_14305_a_hot_prefix_makes_no_hot_spot_and_is_still_found(tmp_path: Path) -> None:
    by_prefix = {"policy": "prefix_affinity"}
    async with scripted(well, well, well) as servers, platform(tmp_path, [each.url for each in servers], routing=by_prefix) as gate:
        for number in range(12):
            assert (await gate.chat(messages=prompt(number))).status_code == 200
        one_by_one = [len(server.requests) for server in servers]
        assert sorted(one_by_one) == [0, 0, 12], "nothing speaks against the worker that has it"
        for server in servers:
            server.requests.clear()
        await asyncio.gather(*(gate.chat(messages=prompt(number)) for number in range(60)))
        together = [len(server.requests) for server in servers]
        assert max(together) <= 1.5 * 20, together
        await gate.until_quiet()


def prompt(number: int) -> list[dict[str, str]]:
    return [{"role": "system", "content": "You are a helpful assistant. " * 40}, {"role": "user", "content": f"Question {number}"}]


async def test_a_worker_of_ours_that_restarts_starts_clean(tmp_path: Path) -> None:
    """What the old process had counts no more, and its successor gets the next request."""
    async with platform(tmp_path / "gate") as gate:
        async with sim_worker(gate, tmp_path / "worker"):
            assert (await gate.chat(model="sim-small", max_tokens=2)).status_code == 200
            member, before = gate.member(), gate.member().incarnation
        await until(lambda: member.state is not WorkerState.READY)
        plan = WorkerPlan(
            state_dir=tmp_path / "worker", engine="sim", engine_options={}, join=gate.gateway.base_url, token="", allow_faults=True
        )
        again = Worker(plan)
        await again.open()
        try:
            await until(lambda: member.state is WorkerState.READY)
            assert gate.gateway.workers.members() == [member]
            assert member.incarnation > before
            assert (await gate.chat(model="sim-small", max_tokens=2)).status_code == 200
            await gate.until_quiet()
        finally:
            await again.close()


async def test_xorbits_2402_a_restart_of_the_gateway_loses_no_running_model(tmp_path: Path) -> None:
    """The worker keeps its engine and its id while nobody is there, and serves again by itself when the gateway is back."""
    async with contextlib.AsyncExitStack() as running:
        async with platform(tmp_path / "gate") as gate:
            worker = await running.enter_async_context(sim_worker(gate, tmp_path / "worker"))
            authorization, port = gate.authorization, gate.port
            engine, worker_id = worker.engine, gate.member().id
        async with platform(tmp_path / "gate", port=port) as again:
            await again.until_ready(1)
            assert [member.id for member in again.gateway.workers.members()] == [worker_id]
            assert worker.engine is engine
            models = await again.http.get("/v1/models", headers=authorization)
            assert "sim-small" in [model["id"] for model in models.json()["data"]]
            body = again.body(model="sim-small", max_tokens=2)
            assert (await again.http.post("/v1/chat/completions", json=body, headers=authorization)).status_code == 200
            await again.until_quiet()
            await running.aclose()
