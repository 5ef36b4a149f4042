"""What a runner has in its hands: leases that wait for a slot, run, or whose end has not been acknowledged yet."""

import asyncio
from dataclasses import dataclass
from enum import Enum, auto

from penstock.domain.durable.leases import Lease, LeaseRef


class Stop(Enum):
    """Why a task is stopped before its end."""

    CANCELLED = auto()
    """Somebody cancelled it: its end is told."""
    LOST = auto()
    """It belongs to another runner by now: nothing is told."""
    DRAINING = auto()
    """The runner stops: it is given back."""


@dataclass(slots=True, eq=False)
class Holding:
    lease: Lease
    running: asyncio.Task[None] | None = None
    """None: it waits for a slot, or it has ended."""
    stop: Stop | None = None
    ended: bool = False

    @property
    def waits(self) -> bool:
        return self.running is None and not self.ended


class Holdings:
    """By task and lease: the same task may come back under a new lease while the old one is still being stopped."""

    def __init__(self) -> None:
        self._all: dict[LeaseRef, Holding] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, lease: Lease) -> Holding:
        holding = self._all[LeaseRef(lease.task_id, lease.lease_seq)] = Holding(lease)
        return holding

    def remove(self, task_id: str, lease_seq: int) -> None:
        self._all.pop(LeaseRef(task_id, lease_seq), None)

    def get(self, held: LeaseRef) -> Holding | None:
        return self._all.get(held)

    def named(self) -> list[LeaseRef]:
        return list(self._all)

    def each(self) -> list[Holding]:
        return list(self._all.values())

    def clear(self) -> list[Holding]:
        """Forget all; returns them, to be stopped."""
        gone = self.each()
        self._all.clear()
        return gone
