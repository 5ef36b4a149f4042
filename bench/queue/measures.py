"""The single measurements; each returns plain numbers."""

import asyncio
import sys
import time
from collections.abc import Callable

from bench.figures import percentile
from bench.queue.work import CLAIM, ORG, Submitter, claim_and_end, end, register
from penstock.domain.durable.task_search import TaskFilter, TaskQuery
from penstock.domain.ports import Store, TaskStore
from penstock.storage.stores._store import SqlStore
from penstock.storage.stores.sql.sqlite_database import SqliteDatabase

_STARTS = 300
_READS = 500


async def enqueue_rate(tasks: TaskStore, count: int) -> float:
    began = time.perf_counter()
    await Submitter(tasks).submit(count)
    return count / (time.perf_counter() - began)


async def enqueue_rate_of_two(tasks: TaskStore, count: int) -> float:
    """Two callers, each of which waits for its own answers."""
    began = time.perf_counter()
    await asyncio.gather(*(Submitter(tasks).submit(count // 2) for _ in range(2)))
    return count / (time.perf_counter() - began)


def database_of(store: Store) -> SqliteDatabase:
    assert isinstance(store, SqlStore)
    assert isinstance(store.database, SqliteDatabase)
    return store.database


async def two_in_process(store: Store, count: int) -> tuple[float, float]:
    """Tasks a second through their whole life, submission included, and tasks for each flush to the disk. For SQLite: one process."""
    database = database_of(store)
    flushed, began = database.flushes, time.perf_counter()
    await Submitter(store.tasks).submit(count)
    done = sum(await asyncio.gather(claim_and_end(store.tasks, "run_1"), claim_and_end(store.tasks, "run_2")))
    seconds = time.perf_counter() - began
    assert done == count
    return count / seconds, count / (database.flushes - flushed)


async def two_processes(url: str, tasks: TaskStore, count: int) -> float:
    """Tasks a second through their whole life, submission included, with two processes that claim and end them."""
    claimers = [await _claimer(url, f"run_{number}") for number in (1, 2)]
    began = time.perf_counter()
    await Submitter(tasks).submit(count)
    done = sum(await asyncio.gather(*map(_finished_count, claimers)))
    seconds = time.perf_counter() - began
    done += await claim_and_end(tasks, "run_3")  # what both of them saw locked by the other one
    assert done == count
    return count / seconds


async def start_latencies(tasks: TaskStore) -> list[float]:
    """Milliseconds from the call that submits one task to the lease in the hands of a runner that had nothing to do."""
    submitter, found = Submitter(tasks), []
    await register(tasks, "run_idle")
    for _ in range(_STARTS):
        ticket = tasks.ticket()
        assert not await tasks.claim("run_idle", 1)
        waiting = asyncio.create_task(_next(tasks, ticket))
        await asyncio.sleep(0.002)  # it waits; nothing else happens
        began = time.perf_counter()
        await submitter.submit(1)
        claimed = await waiting
        found.append((claimed - began) * 1000)
    return found


async def claim_latency(tasks: TaskStore) -> float:
    """Milliseconds, p99, for claims of ten."""
    await Submitter(tasks).submit(10 * _READS)
    await register(tasks, "run_claim")
    found = []
    for _ in range(_READS):
        began = time.perf_counter()
        leases = await tasks.claim("run_claim", 10)
        found.append((time.perf_counter() - began) * 1000)
        await end(tasks, "run_claim", leases)
    return percentile(found, 0.99)


async def search_latency(tasks: TaskStore, words: Callable[[int], str]) -> float:
    """Milliseconds, p99, for the first page of 50 of what has these words."""
    found = []
    for number in range(_READS):
        query = TaskQuery(TaskFilter(text=words(number)), limit=50)
        began = time.perf_counter()
        page = await tasks.tasks(ORG, query)
        found.append((time.perf_counter() - began) * 1000)
        assert page.tasks, query
    return percentile(found, 0.99)


async def fill(tasks: TaskStore, count: int, progress: Callable[[int], None]) -> None:
    """Finished tasks, by their whole lives."""
    submitter = Submitter(tasks)
    for done in range(0, count, 10_000):
        await submitter.submit(min(10_000, count - done), batch=5000)
        await claim_and_end(tasks, "run_fill", limit=5 * CLAIM)
        progress(done)


async def _next(tasks: TaskStore, ticket: int) -> float:
    while True:
        await tasks.wait(ticket, (), 5.0)
        ticket = tasks.ticket()
        leases = await tasks.claim("run_idle", 1)
        if leases:
            claimed = time.perf_counter()
            await end(tasks, "run_idle", leases)
            return claimed


async def _claimer(url: str, runner: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.queue.claimer", url, runner, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == b"ready"
    return process


async def _finished_count(process: asyncio.subprocess.Process) -> int:
    output, _ = await process.communicate(b"go\n")
    return int(output)
