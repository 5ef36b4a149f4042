"""Tasks that do nothing, submitted, claimed and ended through the port, and the clock beside them."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from penstock.domain.durable.leases import Lease, LeaseCompletion, RunnerRecord
from penstock.domain.durable.tasks import CompletionKind, NewTask
from penstock.domain.ids import TaskIds
from penstock.domain.ports import Store, TaskStore
from penstock.storage.stores import open_store

ORG = "org_bench"
BATCH = 1000
"""Tasks in one submission."""
CLAIM = 200
"""Leases in one claim, ended in one call: two batches of a busy runner's slots."""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    store = await open_store(url, migrate=True)
    try:
        yield store
    finally:
        await store.close()


class Submitter:
    def __init__(self, tasks: TaskStore) -> None:
        self._tasks = tasks
        self._ids = TaskIds()
        self._submitted = 0

    async def submit(self, count: int, *, batch: int = BATCH) -> None:
        while count > 0:
            part = min(batch, count)
            await self._tasks.enqueue([self._new() for _ in range(part)])
            count -= part

    def _new(self) -> NewTask:
        """A payload with words of its own: one of a hundred, one of ten thousand."""
        number = self._submitted = self._submitted + 1
        text = f'{{"number": {number}, "text": "hundredth{number % 100} tenthousandth{number % 10_000} of many tasks"}}'
        return NewTask(id=self._ids.next(time.time()), org_id=ORG, kind="function", name="noop", payload=text)


async def register(tasks: TaskStore, runner: str) -> None:
    await tasks.register(RunnerRecord(id=runner, name=runner, org_id=None, queues=(), slots=CLAIM))


async def claim_and_end(tasks: TaskStore, runner: str, *, limit: int = CLAIM) -> int:
    """Until nothing is left; how many that were. One batch ends while the next is claimed, as a runner does it."""
    await register(tasks, runner)
    count, ending = 0, None
    while leases := await tasks.claim(runner, limit):
        if ending is not None:
            await ending
        ending = asyncio.create_task(end(tasks, runner, leases))
        count += len(leases)
    if ending is not None:
        await ending
    return count


async def end(tasks: TaskStore, runner: str, leases: Sequence[Lease]) -> None:
    done = [LeaseCompletion(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=CompletionKind.SUCCEEDED) for lease in leases]
    statuses = await tasks.finish(runner, done)
    assert None not in statuses, "a lease was lost"
