"""How a runner is joined: the port, and its member that works on the store directly. The other one, over HTTP, is `remote.py`."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.base.task_connection import TaskConnection
from penstock.domain.durable.leases import CANCELLATIONS, HeartbeatReply, Lease, LeaseCompletion, LeaseRef, ProgressReport, RunnerRecord
from penstock.domain.durable.tasks import TaskStatus
from penstock.domain.ports import TaskStore
from penstock.durable.tasks.lease_issuer import LeaseIssuer

TaskAccess = Callable[[Lease], TaskConnection | None]
"""How the code of a task reaches a gateway, with a key of its own."""


@dataclass(frozen=True, slots=True)
class RunnerInfo:
    """What a runner reports about itself when it joins."""

    name: str
    queues: tuple[str, ...]
    """Empty: every queue."""
    slots: int
    kinds: tuple[str, ...]
    functions: str
    """JSON text of `FunctionDeclaration`s."""
    version: str


class CompletionsRefused(Exception):
    """The other side does not take these completions, and did not say that it only cannot at the moment."""


class Link(Protocol):
    """Every method but `now` may raise PortUnavailable: the other side could not be reached, and the call is to be repeated."""

    def now(self) -> float:
        """What the times of a `LeaseCompletion` count from: the store's clock, or 0 where the receiver adds it."""
        ...

    async def open(self) -> None: ...

    async def join(self, info: RunnerInfo) -> str:
        """Returns the runner's id, a new one. Raises JoinRefused."""
        ...

    async def claim(self, limit: int, queues: Collection[str], kinds: Collection[str], wait_seconds: float) -> list[Lease]:
        """As soon as there is something for these abilities; empty after that time."""
        ...

    async def news(self, wait_seconds: float) -> bool:
        """Until there may be a reason for an early `heartbeat` (a task was cancelled); False when there was none in that time."""
        ...

    async def heartbeat(self, held: Sequence[LeaseRef], waiting: Sequence[LeaseRef]) -> HeartbeatReply:
        """`waiting`: those of the held leases whose work has not begun."""
        ...

    async def finish(self, completions: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        """None for each that came too late: its lease belongs to another runner, or has ended.

        Raises CompletionsRefused: the same call again would be refused again.
        """
        ...

    async def progress(self, reports: Sequence[ProgressReport]) -> None: ...

    def task_connection(self, lease: Lease) -> TaskConnection | None:
        """How the code of the task reaches a gateway, with a key of its own; None: it does not."""
        ...

    async def leave(self) -> None: ...
    async def close(self) -> None: ...


class DirectLink:
    """On a store: a gateway's own runner, and one that was started with `--store`."""

    def __init__(self, store: TaskStore, lease_issuer: LeaseIssuer, runner_id: str, task_access: TaskAccess | None = None) -> None:
        """`task_access` None: there is no gateway that functions could call."""
        self._task_access = task_access
        self._store = store
        self._lease_issuer = lease_issuer
        self._id = runner_id
        self._info: RunnerRecord | None = None
        self._ticket = 0

    def now(self) -> float:
        return self._store.now()

    async def open(self) -> None:
        pass

    async def join(self, info: RunnerInfo) -> str:
        now = self._store.now()
        self._info = RunnerRecord(
            id=self._id,
            name=info.name,
            org_id=None,
            queues=info.queues,
            slots=info.slots,
            kinds=info.kinds,
            functions=info.functions,
            version=info.version,
            joined_at=now,
            last_beat_at=now,
        )
        await self._store.register(self._info)
        return self._id

    async def claim(self, limit: int, queues: Collection[str], kinds: Collection[str], wait_seconds: float) -> list[Lease]:
        assert self._info is not None
        return await self._lease_issuer.claim_or_wait(self._info, limit, queues, kinds, wait_seconds)

    async def news(self, wait_seconds: float) -> bool:
        return await self._store.wait(self._ticket, (CANCELLATIONS,), wait_seconds)

    async def heartbeat(self, held: Sequence[LeaseRef], waiting: Sequence[LeaseRef]) -> HeartbeatReply:
        self._ticket = self._store.ticket()
        return await self._store.heartbeat(self._id, held, waiting)

    async def finish(self, completions: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        return await self._store.finish(self._id, completions)

    async def progress(self, reports: Sequence[ProgressReport]) -> None:
        await self._store.progress(self._id, reports)

    def task_connection(self, lease: Lease) -> TaskConnection | None:
        return None if self._task_access is None else self._task_access(lease)

    async def leave(self) -> None:
        await self._store.forget_runner(self._id)

    async def close(self) -> None:
        pass
