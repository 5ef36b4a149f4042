"""The database dies or fills up in the middle of the work: what was acknowledged is there, and nothing ends twice."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from penstock.domain.clock import ManualClock
from penstock.domain.durable.leases import Lease, LeaseCompletion, LeaseRef
from penstock.domain.durable.task_search import TaskQuery
from penstock.domain.durable.tasks import CompletionKind, TaskStatus
from penstock.domain.errors import PortUnavailable
from penstock.storage.stores import open_store
from tests.contract.storage.stores.tasks.task_store_client import ORG, START, TaskStoreClient
from tests.support.limited_sqlite import limit_pages, sqlite_database
from tests.support.postgres_cluster import Cluster, cluster

__all__ = ["cluster"]
T = TypeVar("T")
_TASKS = 600
_GIVE_UP_SECONDS = 90.0


class Ledger:
    """Append-only, outside of the database: what it has acknowledged."""

    def __init__(self) -> None:
        self.submitted: list[str] = []
        self.started: list[tuple[str, int]] = []
        self.ended: list[str] = []


async def submit(client: TaskStoreClient, ledger: Ledger) -> None:
    """A task a call, each until it is acknowledged, under a key that says that it is the same."""
    for number in range(_TASKS):
        new = client.new("t", idempotency_key=f"key {number}", max_attempts=100)
        (found,) = await insist(partial(client.tasks.enqueue, [new]))
        ledger.submitted.append(found.id)


async def work(client: TaskStoreClient, ledger: Ledger, runner: str) -> None:
    """A runner that loses answers: what it was given and did not hear of, it does not name in its beats."""
    held: dict[str, Lease] = {}
    while len(ledger.ended) < _TASKS:
        for lease in await insist(partial(client.tasks.claim, runner, 5)):
            ledger.started.append((lease.task_id, lease.lease_seq))
            held[lease.task_id] = lease
        ends = [LeaseCompletion(task_id=one.task_id, lease_seq=one.lease_seq, kind=CompletionKind.SUCCEEDED) for one in held.values()]
        if ends:
            found = await insist(partial(client.tasks.finish, runner, ends))
            # An end whose answer was lost is stale when it is said again; then the store says what became of the task.
            for end, status in zip(ends, found, strict=True):
                if status is TaskStatus.SUCCEEDED or await insist(partial(succeeded, client, end.task_id)):
                    ledger.ended.append(end.task_id)
            held.clear()
        else:
            client.clock.advance(1)
            await insist(partial(client.tasks.heartbeat, runner, [LeaseRef(one.task_id, one.lease_seq) for one in held.values()]))


async def succeeded(client: TaskStoreClient, task: str) -> bool:
    return await client.status(task) is TaskStatus.SUCCEEDED


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Until the database answers."""
    give_up = time.monotonic() + _GIVE_UP_SECONDS
    while True:
        try:
            return await call()
        except PortUnavailable:
            assert time.monotonic() < give_up
            await asyncio.sleep(0.05)


@pytest.mark.fault("PostgreSQL killed again and again under the task queue", "nothing that was acknowledged is lost, nothing ends twice")
async def test_postgres_killed_in_mid_run_loses_nothing_and_ends_nothing_twice(cluster: Cluster) -> None:
    clock, ledger = ManualClock(START), Ledger()
    store = await open_store(cluster.url, clock=clock, migrate=True)
    client = TaskStoreClient(store, clock)
    for runner in ("run_1", "run_2"):
        await client.runner(runner)
    running = [asyncio.create_task(part) for part in (submit(client, ledger), work(client, ledger, "run_1"), work(client, ledger, "run_2"))]
    for quarter in (1, 2, 3):
        while len(ledger.ended) < quarter * _TASKS // 4:
            done, _ = await asyncio.wait(running, timeout=0.02, return_when=asyncio.FIRST_EXCEPTION)
            for part in done:
                part.result()
        cluster.kill()
        cluster.start()
    await asyncio.gather(*running)
    assert len(set(ledger.submitted)) == _TASKS
    assert Counter(ledger.ended) == Counter(ledger.submitted)
    for task in ledger.submitted:
        detail = await client.tasks.task(ORG, task)
        assert detail is not None
        assert detail.task.status is TaskStatus.SUCCEEDED
        assert sum(attempt.outcome is CompletionKind.SUCCEEDED for attempt in detail.attempts) == 1
    assert len(set(ledger.started)) == len(ledger.started)  # no lease was given to two
    await store.close()


@pytest.mark.fault("Disk full under the task queue", "submissions are refused, reads go on, recovers by itself")
async def test_a_full_disk_refuses_tasks_and_goes_on_reading(tmp_path: Path) -> None:
    clock = ManualClock(START)
    store = await open_store(f"sqlite:///{tmp_path}/penstock.db", clock=clock, migrate=True)
    client = TaskStoreClient(store, clock)
    await client.runner()
    await client.submit("before")
    await limit_pages(store, 10)
    with pytest.raises(PortUnavailable, match="full"):
        await client.tasks.enqueue([client.new("x" * 2000) for _ in range(500)])
    assert await client.names() == ["before"]
    assert (await client.tasks.tasks(ORG, TaskQuery(with_total=True))).total == 1
    await limit_pages(store, 1_000_000)
    await client.tasks.enqueue([client.new("x" * 2000) for _ in range(500)])
    assert len(await client.claim(501)) == 501
    await store.close()


async def test_of_what_is_committed_together_each_part_stands_alone(tmp_path: Path) -> None:
    clock = ManualClock(START)
    store = await open_store(f"sqlite:///{tmp_path}/penstock.db", clock=clock, migrate=True)
    client = TaskStoreClient(store, clock)
    first = client.new("first")
    await client.tasks.enqueue([first])
    database = sqlite_database(store)
    flushes = database.flushes
    calls = [client.tasks.enqueue([first if number % 10 == 0 else client.new(f"{number}")]) for number in range(50)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [number for number, one in enumerate(found) if isinstance(one, BaseException)] == [0, 10, 20, 30, 40]
    assert len(await client.names(limit=100)) == 46
    assert database.flushes - flushes < 15
    await store.close()


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_transaction_that_stays_open_does_not_stop_the_queue(cluster: Cluster, figure: Callable[[str], None]) -> None:
    """Its snapshot keeps every dead row of the hot table: claims get slower, and must not come to a stand."""
    import psycopg

    store = await open_store(cluster.url, migrate=True)
    client = TaskStoreClient(store, ManualClock(time.time()))
    await client.runner()
    slowest: list[float] = []
    with psycopg.connect(cluster.url) as idler:
        idler.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        idler.execute("SELECT count(*) FROM task")
        for _ in range(100):
            await client.tasks.enqueue([client.new() for _ in range(1000)])
            while True:
                began = time.perf_counter()
                leases = await client.claim(200)
                slowest.append(time.perf_counter() - began)
                if not leases:
                    break
                await client.end(*leases)
    figure(f"100,000 tasks beside it: slowest claim {max(slowest) * 1000:.0f} ms")
    assert max(slowest) < 2.0
    await store.close()
