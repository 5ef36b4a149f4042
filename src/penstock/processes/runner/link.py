"""How a runner is joined: the port, and its member that works on the store directly. The other one, over HTTP, is `remote.py`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.domain.durable.leases import CANCELLATIONS, HeartbeatReply, Lease, LeaseCompletion, LeaseRef, ProgressReport, RunnerRecord
from penstock.domain.durable.tasks import TaskStatus
from penstock.domain.ports import TaskStore
from penstock.durable.tasks.lease_issuer import LeaseIssuer


@dataclass(frozen=True, slots=True)
class Card:
    """What a runner says of itself."""

    name: str
    queues: tuple[str, ...]
    """Empty: every queue."""
    slots: int
    kinds: tuple[str, ...]
    functions: str
    """JSON text of `tasks.offers.FunctionDeclaration`s."""
    version: str


class Link(Protocol):
    """Every method but `now` may raise PortUnavailable: nobody could be reached, and it is to be tried again."""

    def now(self) -> float:
        """What the times of a `LeaseCompletion` count from: the store's clock, or 0 where whoever takes the finish adds it."""
        ...

    async def open(self) -> None: ...

    async def join(self, card: Card) -> str:
        """Returns the runner's id, a new one. Raises JoinRefused."""
        ...

    async def claim(self, limit: int, queues: Collection[str], kinds: Collection[str], wait_seconds: float) -> list[Lease]:
        """As soon as there is something for these abilities; empty after that time."""
        ...

    async def news(self, wait_seconds: float) -> bool:
        """Until there may be a reason for an early `heartbeat` (a task was cancelled); False when there was none in that time."""
        ...

    async def heartbeat(self, held: Sequence[LeaseRef]) -> HeartbeatReply: ...

    async def finish(self, finishes: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        """None for each that came too late: its lease belongs to somebody else, or to nobody."""
        ...

    async def progress(self, reports: Sequence[ProgressReport]) -> None: ...
    async def leave(self) -> None: ...
    async def close(self) -> None: ...


class DirectLink:
    """On a store: a gateway's own runner, and one that was started with `--store`."""

    def __init__(self, store: TaskStore, lease_issuer: LeaseIssuer, runner_id: str) -> None:
        self._store = store
        self._lease_issuer = lease_issuer
        self._id = runner_id
        self._card: RunnerRecord | None = None
        self._ticket = 0

    def now(self) -> float:
        return self._store.now()

    async def open(self) -> None:
        pass

    async def join(self, card: Card) -> str:
        now = self._store.now()
        self._card = RunnerRecord(
            id=self._id,
            name=card.name,
            org_id=None,
            queues=card.queues,
            slots=card.slots,
            kinds=card.kinds,
            functions=card.functions,
            version=card.version,
            joined_at=now,
            last_beat_at=now,
        )
        await self._store.register(self._card)
        return self._id

    async def claim(self, limit: int, queues: Collection[str], kinds: Collection[str], wait_seconds: float) -> list[Lease]:
        assert self._card is not None
        return await self._lease_issuer.claim_or_wait(self._card, limit, queues, kinds, wait_seconds)

    async def news(self, wait_seconds: float) -> bool:
        return await self._store.wait(self._ticket, (CANCELLATIONS,), wait_seconds)

    async def heartbeat(self, held: Sequence[LeaseRef]) -> HeartbeatReply:
        self._ticket = self._store.ticket()
        return await self._store.heartbeat(self._id, held)

    async def finish(self, finishes: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        return await self._store.finish(self._id, finishes)

    async def progress(self, reports: Sequence[ProgressReport]) -> None:
        await self._store.progress(self._id, reports)

    async def leave(self) -> None:
        await self._store.forget_runner(self._id)

    async def close(self) -> None:
        pass
