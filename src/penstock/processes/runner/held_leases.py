"""The leases that a runner holds: those that wait for a slot, run, or whose completion has not been acknowledged yet."""

import asyncio
from dataclasses import dataclass
from enum import Enum, auto

from penstock.domain.durable.leases import Lease, LeaseRef
from penstock.processes.runner.task_kind import RunningAttempt


class StopReason(Enum):
    """Why a task is stopped before its end."""

    CANCELLED = auto()
    """It was cancelled: its completion is reported."""
    LOST = auto()
    """It belongs to another runner by now: nothing is reported."""
    DRAINING = auto()
    """The runner stops: it is released."""


@dataclass(slots=True, eq=False)
class HeldLease:
    lease: Lease
    running: asyncio.Task[None] | None = None
    """None: it waits for a slot, or its work has ended."""
    stop: StopReason | None = None
    ended: bool = False
    attempt: RunningAttempt | None = None

    @property
    def has_begun(self) -> bool:
        """Its time counts, or it is over."""
        return self.ended or (self.attempt is not None and self.attempt.has_begun)

    @property
    def is_waiting(self) -> bool:
        return self.running is None and not self.ended


class HeldLeases:
    """By task and lease: the same task may come back under a new lease while the old one is still being stopped."""

    def __init__(self) -> None:
        self._all: dict[LeaseRef, HeldLease] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, lease: Lease) -> HeldLease:
        held_lease = self._all[LeaseRef(lease.task_id, lease.lease_seq)] = HeldLease(lease)
        return held_lease

    def remove(self, task_id: str, lease_seq: int) -> None:
        self._all.pop(LeaseRef(task_id, lease_seq), None)

    def get(self, ref: LeaseRef) -> HeldLease | None:
        return self._all.get(ref)

    def refs(self) -> list[LeaseRef]:
        return list(self._all)

    def waiting_refs(self) -> list[LeaseRef]:
        """Those that wait for a slot or for a process: their time does not count yet."""
        return [ref for ref, held_lease in self._all.items() if not held_lease.has_begun]

    def each(self) -> list[HeldLease]:
        return list(self._all.values())

    def clear(self) -> list[HeldLease]:
        """Forget all; returns them, to be stopped."""
        gone = self.each()
        self._all.clear()
        return gone
