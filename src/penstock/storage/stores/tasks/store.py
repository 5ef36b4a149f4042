"""`Store.tasks`: each method is one transaction of the statements beside, and the news of what became ready by it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import TypeVar

import structlog

from penstock.domain.durable.leases import (
    CANCELLATIONS,
    ExpiredLease,
    HeartbeatReply,
    Lease,
    LeaseCompletion,
    LeaseRef,
    ProgressReport,
    PromotionResult,
    RunnerRecord,
)
from penstock.domain.durable.queues import MinuteStats, QueueLimits, QueueState
from penstock.domain.durable.schedules import Schedule
from penstock.domain.durable.task_search import TaskFilter, TaskPage, TaskQuery
from penstock.domain.durable.tasks import Dag, Enqueued, NewTask, ParentResult, TaskDetail, TaskLog, TaskStatus
from penstock.domain.errors import Conflict, PortUnavailable
from penstock.storage.stores.tasks import beats, lifecycle, minutes, queues, sweep
from penstock.storage.stores.tasks.claim import Claims, Wanted
from penstock.storage.stores.tasks.enqueue import enqueue
from penstock.storage.stores.tasks.finish import finish
from penstock.storage.stores.tasks.retry import retry
from penstock.storage.stores.tasks.search import detail
from penstock.storage.stores.tasks.search.listing import Listing
from penstock.storage.stores.tasks.time import StoreTime
from penstock.storage.stores.tasks.transaction import TaskTransaction
from penstock.storage.stores.tasks.wakeups import Wakeups

T = TypeVar("T")
log = structlog.get_logger("penstock.tasks")


class SqlTasks(ABC):
    """What the databases do differently is how they run a transaction, hand out leases, list, and tell the news."""

    def __init__(self, time: StoreTime, claims: Claims, listing: Listing) -> None:
        self._time = time
        self._claims = claims
        self._listing = listing
        self._wakeups = Wakeups()

    async def close(self) -> None:
        """End what runs beside the calls, before the database closes."""
        self._wakeups.close()

    @abstractmethod
    async def _write(self, work: Callable[[TaskTransaction], T]) -> T:
        """Run it in a transaction, which is durable when this returns. Raises PortUnavailable, Conflict."""

    @abstractmethod
    async def _read(self, work: Callable[[TaskTransaction], T]) -> T:
        """Raises PortUnavailable."""

    def _tell(self, ready: Iterable[str]) -> None:
        """Something is ready in these queues."""
        self._wakeups.tell(ready)

    def now(self) -> float:
        return self._time.now()

    def ticket(self) -> int:
        return self._wakeups.ticket()

    async def wait(self, ticket: int, queues: Collection[str], timeout_seconds: float) -> bool:
        return await self._wakeups.wait(ticket, queues, timeout_seconds)

    # Submitting.

    async def enqueue(self, tasks: Sequence[NewTask]) -> list[Enqueued]:
        try:
            found, ready = await self._write(lambda db: enqueue(db, tasks, self.now()))
        except Conflict as conflict:
            if type(conflict) is not Conflict:
                raise
            # Another request wrote the same idempotency key at the same time: now it is known. (Or an id is taken, and stays so.)
            found, ready = await self._write(lambda db: enqueue(db, tasks, self.now()))
        self._tell(ready)
        return found

    # Runners.

    async def register(self, runner: RunnerRecord) -> None:
        await self._write(lambda db: beats.register(db, runner, self.now()))

    async def claim(
        self, runner_id: str, limit: int, queues: Collection[str] = (), org_id: str | None = None, kinds: Collection[str] = ()
    ) -> list[Lease]:
        wanted = Wanted(limit, frozenset(queues), org_id, frozenset(kinds))
        claimed = await self._write(lambda db: self._claims.claim(db, runner_id, wanted, self.now()))
        if claimed.rested:
            now = self.now()
            self._wakeups.tell_later({queue: at - now for queue, at in claimed.rested.items()})
        return claimed.leases

    async def heartbeat(self, runner_id: str, held: Sequence[LeaseRef], waiting: Sequence[LeaseRef] = ()) -> HeartbeatReply:
        answer, ready = await self._write(lambda db: beats.beat(db, runner_id, held, waiting, self.now()))
        self._tell(ready)
        return answer

    async def finish(self, runner_id: str, finishes: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        return await self._finish(runner_id, finishes)

    async def _finish(self, runner_id: str, finishes: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        """One end that the database does not take must not undo the others: they are tried apart, and that one is written bare."""
        try:
            found, ready = await self._write(lambda db: finish(db, runner_id, finishes, self.now()))
        except PortUnavailable:
            raise
        except Exception as error:
            if len(finishes) > 1:
                return await self._finish_halves(runner_id, finishes)
            if finishes[0].is_bare:
                raise
            log.warning("end_not_storable", task=finishes[0].task_id, lease=finishes[0].lease_seq, reason=type(error).__name__)
            return await self._finish(runner_id, [finishes[0].bare()])
        self._tell(ready)
        return found

    async def _finish_halves(self, runner_id: str, finishes: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        """Both are tried, whatever the first one raises."""
        half = len(finishes) // 2
        try:
            first = await self._finish(runner_id, finishes[:half])
        finally:
            second = await self._finish(runner_id, finishes[half:])
        return [*first, *second]

    async def progress(self, runner_id: str, reports: Sequence[ProgressReport]) -> None:
        await self._write(lambda db: beats.report(db, runner_id, reports))

    async def parent_results(
        self, task_id: str, ids: Collection[str] | None = None, most_characters: int | None = None
    ) -> list[ParentResult]:
        return await self._read(lambda db: detail.parent_results(db, task_id, ids, most_characters))

    async def note_resolving(self, runner_id: str, lease: LeaseRef) -> int:
        return await self._write(lambda db: beats.note_resolving(db, runner_id, lease))

    async def note_resolved(self, runner_id: str, lease: LeaseRef) -> None:
        await self._write(lambda db: beats.note_resolved(db, runner_id, lease))

    async def logs(self, org_id: str, task_id: str) -> list[TaskLog] | None:
        return await self._read(lambda db: detail.logs(db, org_id, task_id))

    async def holds(self, runner_id: str, task_id: str, lease_seq: int) -> bool:
        return await self._read(lambda db: beats.holds(db, runner_id, task_id, lease_seq))

    async def forget_runner(self, runner_id: str) -> int:
        count, ready = await self._write(lambda db: beats.forget(db, runner_id, self.now()))
        self._tell(ready)
        return count

    # What is due.

    async def promote(self) -> PromotionResult:
        due, ready = await self._write(lambda db: sweep.promote(db, self.now()))
        self._tell(ready)
        return due

    async def expired_leases(self, limit: int) -> list[ExpiredLease]:
        return await self._read(lambda db: beats.expired(db, limit, self.now())) if self._time.trusted else []

    async def forget_silent_runners(self, silent_seconds: float) -> int:
        before = self.now() - silent_seconds
        return await self._write(lambda db: beats.forget_silent(db, before)) if self._time.trusted else 0

    async def delete_kept(self, limit: int) -> int:
        return await self._write(lambda db: sweep.delete_kept(db, limit, self.now()))

    async def roll_up(self) -> int:
        return await self._write(minutes.roll_up)

    # People.

    async def task(self, org_id: str, task_id: str) -> TaskDetail | None:
        return await self._read(lambda db: detail.detail(db, org_id, task_id))

    async def tasks(self, org_id: str, query: TaskQuery) -> TaskPage:
        return await self._read(lambda db: self._listing.page(db, org_id, query))

    async def count(self, org_id: str, wanted: TaskFilter) -> int:
        return await self._read(lambda db: self._listing.count(db, org_id, wanted))

    async def dag(self, org_id: str, dag_id: str) -> Dag | None:
        return await self._read(lambda db: detail.dag(db, org_id, dag_id))

    async def dag_counts(self, org_id: str, dag_id: str) -> dict[TaskStatus, int]:
        return await self._read(lambda db: detail.dag_counts(db, org_id, dag_id))

    async def cancel(self, org_id: str, task_ids: Sequence[str]) -> dict[str, TaskStatus]:
        found, ready, running = await self._write(lambda db: lifecycle.cancel(db, org_id, task_ids, self.now()))
        self._tell(ready | {CANCELLATIONS} if running else ready)
        return found

    async def retry(self, org_id: str, task_ids: Sequence[str], *, with_dependents: bool = False) -> dict[str, TaskStatus]:
        found, ready = await self._write(lambda db: retry(db, org_id, task_ids, with_dependents, self.now()))
        self._tell(ready)
        return found

    async def delete(self, org_id: str, task_ids: Sequence[str]) -> list[str]:
        return await self._write(lambda db: lifecycle.delete(db, org_id, task_ids))

    async def reprioritise(self, org_id: str, task_ids: Sequence[str], priority: int) -> list[str]:
        return await self._write(lambda db: lifecycle.reprioritise(db, org_id, task_ids, priority))

    async def queues(self, org_id: str) -> list[QueueState]:
        return await self._read(lambda db: queues.states(db, org_id))

    async def limit_queue(self, org_id: str, queue: str, limits: QueueLimits) -> None:
        await self._write(lambda db: queues.limit(db, org_id, queue, limits))
        self._tell({queue})

    async def stored_tasks(self, org_id: str, most: int) -> int:
        return await self._read(lambda db: queues.stored_tasks(db, org_id, most))

    async def runners(self) -> list[RunnerRecord]:
        return await self._read(beats.runners)

    async def runner(self, runner_id: str) -> RunnerRecord | None:
        return await self._read(lambda db: beats.runner(db, runner_id))

    async def drain_runner(self, runner_id: str, *, draining: bool = True) -> bool:
        flag = int(draining)
        return await self._write(lambda db: db.run("UPDATE runner SET draining = ? WHERE id = ?", flag, runner_id)) > 0

    async def minutes(self, org_id: str | None, since: float, until: float) -> list[MinuteStats]:
        return await self._read(partial(minutes.minutes, org_id=org_id, since=since, until=until))

    # The calendar.

    async def save_schedule(self, schedule: Schedule) -> None:
        await self._write(lambda db: queues.save_schedule(db, schedule))

    async def schedule(self, org_id: str, schedule_id: str) -> Schedule | None:
        return await self._read(lambda db: queues.schedule(db, org_id, schedule_id))

    async def schedules(self, org_id: str) -> list[Schedule]:
        return await self._read(lambda db: queues.schedules(db, org_id))

    async def remove_schedule(self, org_id: str, schedule_id: str) -> bool:
        return await self._write(lambda db: queues.remove_schedule(db, org_id, schedule_id))

    async def due_schedules(self, limit: int) -> list[Schedule]:
        return await self._read(lambda db: sweep.due_schedules(db, limit, self.now()))

    async def fire(self, schedule: Schedule, next_at: float | None, tasks: Sequence[NewTask]) -> bool:
        def fired(db: TaskTransaction) -> set[str] | None:
            return enqueue(db, tasks, self.now())[1] if sweep.move_on(db, schedule, next_at) else None

        ready = await self._write(fired)
        self._tell(ready or ())
        return ready is not None
