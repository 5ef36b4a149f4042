"""What a gateway does beside the traffic, again and again: each chore in a task of its own, none of which can end another."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

import structlog

from penstock.base.moments import Moment
from penstock.domain.errors import PortUnavailable
from penstock.domain.ports import WorkerStore
from penstock.domain.workers import WorkerKind

log = structlog.get_logger("penstock.chores")


@dataclass(frozen=True, slots=True)
class Chore:
    name: str
    every_seconds: float
    run: Callable[[], Awaitable[object]]
    """Done once at the start and then after each pause. What it raises is logged, and it is tried again."""


class Chores:
    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self.done = Moment()
        """One of the chores has been done, or has failed."""

    def start(self, chore: Chore) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(self._repeat(chore), name=f"chore {chore.name}"))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _repeat(self, chore: Chore) -> None:
        while True:
            try:
                await chore.run()
            except PortUnavailable as error:
                log.info("chore_postponed", chore=chore.name, reason=str(error))
            except Exception:
                log.exception("chore_failed", chore=chore.name)
            self.done.tell()
            await asyncio.sleep(chore.every_seconds)


async def forget_workers(workers: WorkerStore, silent_since: float, alive: Collection[str]) -> list[str]:
    """Remove the workers that joined once and have not been heard of since `silent_since` (Unix seconds); returns their ids.

    Upstreams stay: an operator wrote them down, and they do not report. So do those that are `alive` as the gateway sees them: their
    times are old for a moment after an operator set the clock forward.
    """
    silent = [record for record in await workers.all() if record.last_seen_at < silent_since]
    gone = [record.id for record in silent if record.kind is WorkerKind.WORKER and record.id not in alive]
    for worker_id in gone:
        await workers.remove(worker_id)
        log.info("worker_forgotten", worker=worker_id)
    return gone
