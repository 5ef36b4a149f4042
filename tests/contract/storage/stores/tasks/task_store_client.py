"""A client of the task store with a manual clock: it submits, claims and completes tasks in one call each."""

import itertools
from collections.abc import Sequence
from typing import Any

from penstock.domain.clock import ManualClock
from penstock.domain.durable.leases import Lease, LeaseCompletion, RunnerRecord
from penstock.domain.durable.task_search import TaskFilter, TaskQuery
from penstock.domain.durable.tasks import CompletionKind, NewTask, OnParentFailure, Parent, TaskError, TaskStatus
from penstock.domain.ids import TaskIds
from penstock.domain.ports import Store

ORG = "org_one"
OTHER = "org_two"
START = 1_700_000_000.0
FAILED = TaskError("broken", "It did not work.")


class TaskStoreClient:
    """Short calls of `tasks`, the task store under test."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.tasks = store.tasks
        self.clock = clock
        self.ids = TaskIds()
        self._numbers = itertools.count()

    def new(self, name: str = "noop", parents: Sequence[str | Parent] = (), **values: Any) -> NewTask:
        given: dict[str, Any] = {"org_id": ORG, "kind": "function"} | values
        named = tuple(parent if isinstance(parent, Parent) else Parent(parent) for parent in parents)
        return NewTask(id=self.ids.next(self.clock.time()), name=name, parents=named, **given)

    async def submit(self, name: str = "noop", parents: Sequence[str | Parent] = (), **values: Any) -> str:
        """The id of one new task."""
        (found,) = await self.tasks.enqueue([self.new(name, parents, **values)])
        return found.id

    async def runner(self, id_: str = "run_1", **values: Any) -> str:
        given: dict[str, Any] = {"name": id_, "org_id": None, "queues": (), "slots": 10} | values
        await self.tasks.register(RunnerRecord(id=id_, **given))
        return id_

    async def claim(self, limit: int = 1, runner: str = "run_1", **values: Any) -> list[Lease]:
        return await self.tasks.claim(runner, limit, **values)

    async def end(
        self, *leases: Lease, kind: CompletionKind = CompletionKind.SUCCEEDED, runner: str = "run_1", **values: Any
    ) -> list[TaskStatus | None]:
        return await self.tasks.finish(runner, [ended(lease, kind, **values) for lease in leases])

    async def run(self, kind: CompletionKind = CompletionKind.SUCCEEDED, **values: Any) -> str:
        """Claim what is next and end it; its id."""
        (lease,) = await self.claim()
        await self.end(lease, kind=kind, **values)
        return lease.task_id

    async def status(self, task_id: str) -> TaskStatus:
        detail = await self.tasks.task(ORG, task_id)
        assert detail is not None
        return detail.task.status

    async def names(self, wanted: TaskFilter | None = None, **values: Any) -> list[str]:
        """Of one page, in its order."""
        query = TaskQuery(wanted or TaskFilter(), **values)
        return [task.name for task in (await self.tasks.tasks(ORG, query)).tasks]


def ended(lease: Lease, kind: CompletionKind = CompletionKind.SUCCEEDED, **values: Any) -> LeaseCompletion:
    given: dict[str, Any] = {"error": FAILED} if kind in (CompletionKind.FAILED, CompletionKind.RETRIED) else {}
    return LeaseCompletion(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=kind, **(given | values))


def behind(parent: str, on_failure: OnParentFailure = OnParentFailure.FAIL) -> Parent:
    return Parent(parent, on_failure)
