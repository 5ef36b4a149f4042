"""How many tasks run at the same time, and how many are claimed ahead so that no slot is idle during a claim."""

from dataclasses import dataclass

_AHEAD_SECONDS = 0.1
_MEMORY = 0.9


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """One group of slots: what it serves, and its size."""

    kinds: tuple[str, ...]
    """Members of the family `kinds`: functions have slots of their own, because each needs a process."""
    queues: tuple[str, ...]
    """None named: all of them."""
    slots: int
    max_prefetched: int


class TaskSlots:
    """One group. What is fetched ahead is bound to about a tenth of a second of work: more of it would wait here while others idle."""

    def __init__(self, plan: SlotPlan) -> None:
        self.plan = plan
        self.running = 0
        self.waiting = 0
        self._mean_seconds = 1.0

    @property
    def prefetch(self) -> int:
        ahead = self.plan.slots * _AHEAD_SECONDS / max(self._mean_seconds, 1e-5)
        return min(self.plan.max_prefetched, int(ahead))

    @property
    def wanted(self) -> int:
        """How many leases to ask for now; 0 while it is not worth a call."""
        prefetch = self.prefetch
        free = self.plan.slots + prefetch - self.running - self.waiting
        return free if free > 0 and (self.running < self.plan.slots or free * 2 >= prefetch) else 0

    @property
    def has_free_slot(self) -> bool:
        return self.running < self.plan.slots

    def record_duration(self, seconds: float) -> None:
        """A task ran for that long."""
        self._mean_seconds = self._mean_seconds * _MEMORY + seconds * (1 - _MEMORY)
