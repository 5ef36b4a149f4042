"""Where tasks are kept, handed out and ended. Asynchronous; raises `PortUnavailable` when the database cannot be reached or is full.

Nothing here takes the time: all of it is by the store's own clock, so that runners on machines with other clocks agree.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from penstock.domain.durable.leases import (
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


class TaskIntake(Protocol):
    async def enqueue(self, tasks: Sequence[NewTask]) -> list[Enqueued]:
        """Write all or none, in one transaction; acknowledged means durable. At most 10,000.

        A known idempotency key gives the task that has it, and children of the same call get that one as their parent. Parents
        that are over already decide at once. Raises IdempotencyConflict (a known key with another payload), NotFound (no such
        parent in the organisation), Conflict (an id is taken: make new ids), ValueError (a parent after its child).
        """
        ...


class TaskLeases(Protocol):
    """For runners."""

    def now(self) -> float:
        """The store's clock, Unix seconds; cheap."""
        ...

    async def register(self, runner: RunnerRecord) -> None:
        """Insert, or replace the one of that id; its last heartbeat is now."""
        ...

    async def claim(
        self, runner_id: str, limit: int, queues: Collection[str] = (), org_id: str | None = None, kinds: Collection[str] = ()
    ) -> list[Lease]:
        """Up to `limit` ready tasks, started now: fair between organisations, then by `sort_key`. Queues empty: every queue.

        `kinds`: what the runner can run, as `domain.tasks.ability` names it (a kind, or `function:<name>`); empty: everything.
        Nothing for a runner that is not registered or drains.
        """
        ...

    def ticket(self) -> int:
        """Take one before `claim`: `wait` then knows what came meanwhile."""
        ...

    async def wait(self, ticket: int, queues: Collection[str], timeout_seconds: float) -> bool:
        """Until something became ready in one of the queues (empty: any) since the ticket; False when nothing did in time.

        A hint, which may also come for nothing. `CANCELLATIONS` among the queues: also when a running task is to be cancelled.
        """
        ...

    async def heartbeat(self, runner_id: str, held: Sequence[LeaseRef], waiting: Sequence[LeaseRef] = ()) -> HeartbeatReply:
        """Note that the runner lives. Its leases that it does not name, `LOST_CLAIM_SECONDS` after their claim, are given back.

        `waiting`: held leases whose work has not begun. Their attempts start now, so that their time does not run out before.
        """
        ...

    async def finish(self, runner_id: str, finishes: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        """End leases, all in one transaction; for each the new status of its task, None for a stale one (409).

        Only the runner that holds a lease can end it, and only once. A retry of a task that is to be cancelled cancels it. An end
        that the database does not take is written without what it brought, as a failed attempt; the others of the call are kept.
        Children become ready, or share their parent's fate, in the same transaction.
        """
        ...

    async def progress(self, runner_id: str, reports: Sequence[ProgressReport]) -> None:
        """The last report of each held task, and what it printed so far; stale ones are dropped."""
        ...

    async def parent_results(
        self, task_id: str, ids: Collection[str] | None = None, most_characters: int | None = None
    ) -> list[ParentResult]:
        """In the order in which the parents were named; `ids`: of these alone. Raises TooLarge for results above `most_characters`."""
        ...

    async def note_resolving(self, runner_id: str, lease: LeaseRef) -> int:
        """This process begins to put results into the payload of a lease; how often that was begun before and never ended."""
        ...

    async def note_resolved(self, runner_id: str, lease: LeaseRef) -> None:
        """It has ended, whether well or not."""
        ...

    async def holds(self, runner_id: str, task_id: str, lease_seq: int) -> bool:
        """Whether the runner is registered and holds this lease now."""
        ...

    async def forget_runner(self, runner_id: str) -> int:
        """A runner says goodbye: what it still held is given back (how many that was)."""
        ...


class TaskSweep(Protocol):
    """For the one leader, a few times a second; any number of them do no harm."""

    async def promote(self) -> PromotionResult:
        """Scheduled tasks whose time has come become ready; waiting ones past `expires_at` fail."""
        ...

    async def expired_leases(self, limit: int) -> list[ExpiredLease]: ...

    async def forget_silent_runners(self, silent_seconds: float) -> int:
        """Remove those that were silent for that long and hold nothing."""
        ...

    async def delete_kept(self, limit: int) -> int:
        """Delete tasks whose `keep_seconds` are over, and that no child waits for."""
        ...

    async def roll_up(self) -> int:
        """Add what finished since the last time to the minutes; how many notes that were."""
        ...


class TaskControl(Protocol):
    """For people, one organisation at a time. Ids of other organisations are ids that there are not."""

    async def task(self, org_id: str, task_id: str) -> TaskDetail | None: ...
    async def logs(self, org_id: str, task_id: str) -> list[TaskLog] | None:
        """What its attempts printed, in the order of their starts; None: there is no such task."""
        ...

    async def tasks(self, org_id: str, query: TaskQuery) -> TaskPage:
        """Raises BadRequest for an `after` that no page gave."""
        ...

    async def count(self, org_id: str, wanted: TaskFilter) -> int:
        """Exactly."""
        ...

    async def dag(self, org_id: str, dag_id: str) -> Dag | None:
        """At most 10,000 of its tasks, without bodies."""
        ...

    async def dag_counts(self, org_id: str, dag_id: str) -> dict[TaskStatus, int]:
        """How many of its tasks have which status."""
        ...

    async def cancel(self, org_id: str, task_ids: Sequence[str]) -> dict[str, TaskStatus]:
        """The status of each that there is: waiting ones are cancelled, running ones asked to stop, others stay as they are."""
        ...

    async def retry(self, org_id: str, task_ids: Sequence[str], *, with_dependents: bool = False) -> dict[str, TaskStatus]:
        """Those that were over and run again, with all their attempts before them: ready, or blocked behind parents that are not over.

        `with_dependents`: with all that failed or were skipped because of them. A task whose parent has failed, and does not run again in
        this call, would fail at once and stays as it is.
        """
        ...

    async def delete(self, org_id: str, task_ids: Sequence[str]) -> list[str]:
        """Those that were over and are gone. A task with a child that is not over stays: the child may use its result."""
        ...

    async def reprioritise(self, org_id: str, task_ids: Sequence[str], priority: int) -> list[str]:
        """Those that had not started yet and have it now."""
        ...

    async def queues(self, org_id: str) -> list[QueueState]:
        """Those with limits or unfinished tasks, and the default ones; by name."""
        ...

    async def limit_queue(self, org_id: str, queue: str, limits: QueueLimits) -> None: ...

    async def stored_tasks(self, org_id: str, most: int) -> int:
        """How many tasks of an organisation there are, ended ones included; `most` when there are more."""
        ...

    async def runners(self) -> list[RunnerRecord]:
        """Of every organisation."""
        ...

    async def runner(self, runner_id: str) -> RunnerRecord | None: ...
    async def drain_runner(self, runner_id: str, *, draining: bool = True) -> bool:
        """The answer to its next heartbeat says so. False: no such runner."""
        ...

    async def minutes(self, org_id: str | None, since: float, until: float) -> list[MinuteStats]:
        """With what is not rolled up yet; by minute, then queue. None: of every organisation."""
        ...


class Schedules(Protocol):
    async def save_schedule(self, schedule: Schedule) -> None:
        """Insert, or replace the one of that id. Raises Conflict when another one of the organisation has its name."""
        ...

    async def schedule(self, org_id: str, schedule_id: str) -> Schedule | None: ...
    async def schedules(self, org_id: str) -> list[Schedule]:
        """By name."""
        ...

    async def remove_schedule(self, org_id: str, schedule_id: str) -> bool: ...
    async def due_schedules(self, limit: int) -> list[Schedule]: ...
    async def fire(self, schedule: Schedule, next_at: float | None, tasks: Sequence[NewTask]) -> bool:
        """Move the schedule on from its `next_at` and enqueue its tasks, in one transaction.

        False, and nothing is written, when another caller has moved, changed or removed it meanwhile.
        """
        ...


class TaskStore(TaskIntake, TaskLeases, TaskSweep, TaskControl, Schedules, Protocol):
    """All of it: `Store.tasks`."""
