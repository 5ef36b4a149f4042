"""What stands in line, and what the line notes of it."""

from dataclasses import dataclass
from typing import Protocol

from penstock.domain.errors import PenstockError
from penstock.domain.principal import Pool, ServiceClass
from penstock.scheduling.heap import Heap


class Debt(Protocol):
    """What a tenant was charged when its request went to a worker, until the true number is known."""

    def settle(self, prompt: int, completion: int) -> None: ...


class Waiting(Protocol):
    """A request, as the line sees it."""

    service_class: ServiceClass
    org_id: str
    pools: tuple[Pool, ...]
    excluded: frozenset[str]
    """The workers that it must not be sent to."""
    prompt_tokens: int
    max_tokens: int
    """The most that it may answer."""
    queued_at: float
    """Monotonic seconds."""
    give_up_at: float
    """Monotonic seconds after which nobody waits for it any more."""
    debt: Debt | None
    """Set by the line when it lets the request go."""

    def refuse(self, error: PenstockError) -> None:
        """It lost its place to somebody else and is out of the line."""
        ...


class Lane:
    """Those that may use exactly the same slots: when there is none for one of them, there is none for any."""

    __slots__ = ("key", "oldest")

    def __init__(self, key: tuple[tuple[Pool, ...], frozenset[str]]) -> None:
        self.key = key
        self.oldest: Heap[Standing] = Heap()
        """By the moment after which they have waited too long."""


@dataclass(eq=False, slots=True)
class Standing:
    """One stay in line; what decides about it is frozen here when it begins."""

    entry: Waiting
    number: int
    """Of its arrival."""
    lane: Lane
    service_class: ServiceClass
    org_id: str
    give_up_at: float
    too_long_at: float
    cost: int
    """Tokens, as the classes' turns count them."""
    service: int
    """Tokens by weight, as the tenants' counters count them."""
