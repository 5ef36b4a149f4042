"""Tasks as people ask for them: submitted, steered one by one or by filter, repeated by the calendar."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from penstock.accounts.permissions import not_found, require_submitter
from penstock.domain.durable.schedules import MissedRuns, Schedule
from penstock.domain.durable.task_search import TaskFilter, TaskQuery
from penstock.domain.durable.tasks import TERMINAL, Enqueued, NewTask, Parent, Task, TaskDetail, TaskLog, TaskStatus
from penstock.domain.errors import Conflict
from penstock.domain.ids import TaskIds
from penstock.domain.ports import TaskStore
from penstock.domain.principal import Principal, stored_id
from penstock.durable.tasks import calendar
from penstock.durable.tasks.function_registry import FunctionRegistry
from penstock.durable.tasks.quota import TaskQuota, check_schedules
from penstock.durable.tasks.submission import Submitter, TaskSpec, new_tasks, policy_of_kind

_PAGE = 1_000
_PAUSE_EVERY = 500
_RESULTS_BYTES = 8_000_000
"""Of one answer; a page of tasks with large results may make it larger by one page."""
_RESULTS_PAGE = 20
MOST_AT_ONCE = 100_000
"""Tasks that one action may touch."""
_WAITING = frozenset({TaskStatus.BLOCKED, TaskStatus.SCHEDULED, TaskStatus.READY})


class Action(StrEnum):
    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"
    REPRIORITISE = "reprioritise"


_ELIGIBLE_STATUSES = {
    Action.CANCEL: frozenset(TaskStatus) - TERMINAL,
    Action.RETRY: frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.SKIPPED}),
    Action.DELETE: TERMINAL,
    Action.REPRIORITISE: _WAITING,
}
"""In which statuses an action finds something to do. Succeeded tasks are repeated one by one only."""


@dataclass(frozen=True, slots=True)
class BulkResult:
    matched: int
    """Tasks that the filter found in a status in which the action does something."""
    done: int
    """Of those, how many it changed; 0 in a dry run."""


class TaskService:
    """Every method may raise PortUnavailable; `caller` is on whose behalf it runs."""

    def __init__(self, store: TaskStore, new_id: Callable[[str], str]) -> None:
        self.store = store
        self.functions = FunctionRegistry(store)
        self._quota = TaskQuota(store)
        self._new_id = new_id
        self._ids = TaskIds()

    # submission

    async def submit(
        self, caller: Principal, specs: Sequence[TaskSpec], *, traceparent: str = "", dag_id: str | None = None
    ) -> list[Enqueued]:
        """All or none; in the order of `specs`. Acknowledged means durable.

        Raises BadRequest, Unprocessable (cycle, unknown parent, unknown kind), PayloadTooLarge, IdempotencyConflict, NotFound (a parent),
        QuotaExhausted.
        """
        require_submitter(caller, {spec.kind for spec in specs})
        await self._quota.add(caller, len(specs))
        await self.functions.refresh()
        for last_try in (False, True):
            submitter = Submitter(caller.org_id, caller.actor, self._ids.next, traceparent, dag_id)
            tasks = await self._build(specs, submitter)
            try:
                return await self._enqueue(specs, tasks)
            except Conflict as error:
                if last_try or type(error) is not Conflict:
                    raise
                self._ids = TaskIds()  # another process drew the same bits
        raise AssertionError("unreachable")

    async def _build(self, specs: Sequence[TaskSpec], submitter: Submitter) -> list[NewTask]:
        """In portions: ten thousand tasks take a moment, and this process has other things to serve."""
        made: list[NewTask] = []
        for task in new_tasks(specs, submitter, self.store.now(), self.functions.policy_for(submitter.org_id)):
            made.append(task)
            if len(made) % _PAUSE_EVERY == 0:
                await asyncio.sleep(0)
        return made

    async def _enqueue(self, specs: Sequence[TaskSpec], tasks: list[NewTask]) -> list[Enqueued]:
        """The store takes parents first; the caller gets its own order back, which is the order of the ids."""
        enqueued = await self.store.enqueue(tasks)
        if len(tasks) == 1:
            return enqueued
        by_id = {task.id: done for task, done in zip(tasks, enqueued, strict=True)}
        assert len(by_id) == len(specs)
        return [by_id[task_id] for task_id in sorted(by_id)]

    async def clone(self, caller: Principal, task_id: str) -> Enqueued:
        """The same work again as a new task, after the same parents, on behalf of the caller.

        Raises NotFound, Unprocessable for a kind that no runner can execute.
        """
        detail = await self.detail(caller, task_id)
        task = detail.task
        require_submitter(caller, {task.kind})
        policy_of_kind(task.kind)
        await self._quota.add(caller, 1)
        now = self.store.now()
        copy = NewTask(
            id=self._ids.next(now),
            org_id=caller.org_id,
            key_id=stored_id(caller.actor),
            queue=task.queue,
            kind=task.kind,
            name=task.name,
            priority=task.priority,
            payload=task.payload or "null",
            tags=task.tags,
            parents=tuple(Parent(parent.id, parent.on_failure) for parent in detail.parents),
            keep_seconds=task.keep_seconds,
            max_attempts=task.max_attempts,
            timeout_seconds=task.timeout_seconds,
            backoff_seconds=task.backoff_seconds,
            backoff_cap_seconds=task.backoff_cap_seconds,
            concurrency_key=task.concurrency_key,
            max_running_per_key=task.max_running_per_key or 1,
        )
        return (await self.store.enqueue([copy]))[0]

    # one task

    async def detail(self, caller: Principal, task_id: str) -> TaskDetail:
        """Raises NotFound."""
        found = await self.store.task(caller.org_id, task_id)
        if found is None:
            raise not_found("task")
        return found

    async def logs(self, caller: Principal, task_id: str) -> list[TaskLog]:
        """What its attempts printed, in the order of their starts. Raises NotFound."""
        found = await self.store.logs(caller.org_id, task_id)
        if found is None:
            raise not_found("task")
        return found

    async def why_waiting(self, task: Task) -> str | None:
        """What is missing before a runner can start it; None: nothing that is known. Raises PortUnavailable."""
        if task.kind != "function" or task.status is not TaskStatus.READY:
            return None
        await self.functions.refresh()
        return next(iter(self.functions.not_offered(task.org_id, [task.name])), None)

    async def results(self, caller: Principal, ids: Sequence[str]) -> tuple[list[Task], list[str]]:
        """Those that are there and over, and the ids that were not looked at because what was found is large already."""
        wanted = list(dict.fromkeys(ids))
        found: list[Task] = []
        size = looked = 0
        while looked < len(wanted) and size < _RESULTS_BYTES:
            some = tuple(wanted[looked : looked + _RESULTS_PAGE])
            query = TaskQuery(TaskFilter(ids=some), ascending=True, limit=len(some), bodies=True)
            page = await self.store.tasks(caller.org_id, query)
            found += [task for task in page.tasks if task.status.is_terminal]
            size += sum(len(task.result or "") for task in page.tasks)
            looked += len(some)
        return found, wanted[looked:]

    async def cancel(self, caller: Principal, task_id: str) -> TaskStatus:
        """Again, or after its end, is not an error: the status says what is. Raises NotFound."""
        found = await self.store.cancel(caller.org_id, [task_id])
        if task_id not in found:
            raise not_found("task")
        return found[task_id]

    async def retry(self, caller: Principal, task_id: str, *, with_dependents: bool = False) -> TaskStatus:
        """Run it again, on behalf of its submitter, behind its parents; `with_dependents`: with all that failed because of it.

        Raises NotFound, Conflict while it is not over and when a parent of it has failed.
        """
        found = await self.store.retry(caller.org_id, [task_id], with_dependents=with_dependents)
        if task_id in found:
            return found[task_id]
        detail = await self.detail(caller, task_id)
        if not detail.task.status.is_terminal:
            raise Conflict(f"Only a finished task can be retried; this one is {detail.task.status}.")
        failed = [parent.id for parent in detail.parents if parent.status.is_terminal and parent.status is not TaskStatus.SUCCEEDED]
        if not failed:
            raise Conflict(f"Another task with the unique key {detail.task.unique_key!r} has not ended.")
        raise Conflict(
            f"The task would fail again at once, because its parent {', '.join(failed[:3])} did not succeed: "
            "retry the parent with `with_dependents`."
        )

    # many tasks

    async def apply(
        self,
        caller: Principal,
        action: Action,
        wanted: TaskFilter,
        *,
        dry_run: bool,
        priority: int | None = None,
        with_dependents: bool = False,
    ) -> BulkResult:
        """What the filter finds when the action begins, in portions. Raises Conflict when that is more than MOST_AT_ONCE."""
        statuses = (wanted.statuses & _ELIGIBLE_STATUSES[action]) if wanted.statuses else _ELIGIBLE_STATUSES[action]
        if not statuses:
            return BulkResult(0, 0)
        wanted = replace(wanted, statuses=statuses)
        if dry_run:
            return BulkResult(await self.store.count(caller.org_id, wanted), 0)
        ids = await self._ids_of(caller.org_id, wanted)
        if action is Action.RETRY:
            return BulkResult(len(ids), await self._retry_all(caller.org_id, ids, with_dependents))
        done = 0
        for start in range(0, len(ids), _PAGE):
            done += await self._apply_to(caller.org_id, action, ids[start : start + _PAGE], priority)
        return BulkResult(len(ids), done)

    async def _ids_of(self, org_id: str, wanted: TaskFilter) -> list[str]:
        ids: list[str] = []
        after: str | None = None
        while True:
            page = await self.store.tasks(org_id, TaskQuery(wanted, limit=_PAGE, after=after))
            ids += [task.id for task in page.tasks]
            if len(ids) > MOST_AT_ONCE:
                raise Conflict(f"The filter finds more than {MOST_AT_ONCE} tasks: narrow it, for example by time.")
            if page.next is None:
                return ids
            after = page.next

    async def _retry_all(self, org_id: str, ids: list[str], with_dependents: bool) -> int:
        """In portions, and those again whose parents came in a later one, as long as there is something new. How many run again."""
        left, done = sorted(ids), 0
        while left:
            again: set[str] = set()
            for start in range(0, len(left), _PAGE):
                again |= (await self.store.retry(org_id, left[start : start + _PAGE], with_dependents=with_dependents)).keys()
            done += len(again)
            if not again:
                break
            left = [task_id for task_id in left if task_id not in again]
        return done

    async def _apply_to(self, org_id: str, action: Action, ids: list[str], priority: int | None) -> int:
        match action:
            case Action.CANCEL:
                return len(await self.store.cancel(org_id, ids))
            case Action.RETRY:
                return await self._retry_all(org_id, ids, with_dependents=False)
            case Action.DELETE:
                return len(await self.store.delete(org_id, ids))
            case Action.REPRIORITISE:
                assert priority is not None
                return len(await self.store.reprioritise(org_id, ids, priority))

    # schedules

    async def create_schedule(
        self, caller: Principal, *, name: str, cron: str, time_zone: str, missed: MissedRuns, task: TaskSpec, paused: bool
    ) -> Schedule:
        """Raises BadSchedule, Conflict (the name is taken), QuotaExhausted, and what a submission of the task would raise."""
        require_submitter(caller, {task.kind})
        now = self.store.now()
        next_at = calendar.first_at(cron, time_zone, now)
        await self._validate(caller, task)
        check_schedules(caller, len(await self.store.schedules(caller.org_id)))
        schedule = Schedule(
            id=self._new_id("sch"),
            org_id=caller.org_id,
            key_id=stored_id(caller.actor),
            name=name,
            cron=cron,
            time_zone=time_zone,
            missed=missed,
            task=msgspec.json.encode(task).decode(),
            created_at=now,
            next_at=None if paused else next_at,
            paused=paused,
        )
        await self.store.save_schedule(schedule)
        return schedule

    async def change_schedule(self, caller: Principal, schedule_id: str, changes: "ScheduleChanges") -> Schedule:
        """From now on it runs on behalf of the caller. Raises as `create_schedule`, and NotFound."""
        found = await self.schedule(caller, schedule_id)
        require_submitter(caller, {changes.task.kind if changes.task else "function"})
        if changes.task is not None:
            await self._validate(caller, changes.task)
        paused = found.paused if changes.paused is None else changes.paused
        cron, time_zone = changes.cron or found.cron, changes.time_zone or found.time_zone
        moved = (cron, time_zone, paused) != (found.cron, found.time_zone, found.paused)
        next_at = calendar.first_at(cron, time_zone, self.store.now()) if moved else found.next_at
        changed = replace(
            found,
            key_id=stored_id(caller.actor),
            name=changes.name or found.name,
            cron=cron,
            time_zone=time_zone,
            missed=changes.missed or found.missed,
            task=found.task if changes.task is None else msgspec.json.encode(changes.task).decode(),
            next_at=None if paused else next_at,
            paused=paused,
        )
        await self.store.save_schedule(changed)
        return changed

    async def schedule(self, caller: Principal, schedule_id: str) -> Schedule:
        """Raises NotFound."""
        found = await self.store.schedule(caller.org_id, schedule_id)
        if found is None:
            raise not_found("schedule")
        return found

    async def _validate(self, caller: Principal, task: TaskSpec) -> None:
        """Whether the task could be submitted now."""
        await self.functions.refresh()
        policy = self.functions.policy_for(caller.org_id)
        list(new_tasks([task], Submitter(caller.org_id, caller.actor, self._ids.next), self.store.now(), policy))


@dataclass(frozen=True, slots=True)
class ScheduleChanges:
    """None: as it is."""

    name: str | None = None
    cron: str | None = None
    time_zone: str | None = None
    missed: MissedRuns | None = None
    task: TaskSpec | None = None
    paused: bool | None = None
