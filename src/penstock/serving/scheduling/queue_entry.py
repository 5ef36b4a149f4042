"""What is queued, and what the queue keeps of it."""

from typing import Protocol

from penstock.domain.errors import PenstockError
from penstock.domain.principal import Pool, ServiceClass


class Debt(Protocol):
    """What a tenant was charged when its request went to a worker, until the true number is known."""

    due: int
    """The tokens of output from which on it wants to be told again."""

    def grow(self, completion: int) -> None:
        """So many tokens of output have come so far."""
        ...

    def settle(self, prompt: int, completion: int) -> None: ...


class QueuedRequest(Protocol):
    """A request, as the queue sees it."""

    service_class: ServiceClass
    org_id: str
    pools: tuple[Pool, ...]
    excluded: frozenset[str]
    """The workers that it must not be sent to."""
    prompt_tokens: int
    cached_tokens: int
    """Those of the prompt that a worker is likely to have in its cache; they cost nothing."""
    max_tokens: int
    """The most that it may answer."""
    queued_at: float
    """Monotonic seconds."""
    give_up_at: float
    """Monotonic seconds after which the client does not wait any more."""
    debt: Debt | None
    """Set by the queue when it lets the request go."""

    def find_slot(self) -> bool:
        """Choose a worker with a free slot for it and remember which; False: there is none. Changes nothing else."""
        ...

    def has_capacity(self) -> bool:
        """Whether there may be a slot for it, and for all of its group, without choosing one; cheaper than `find_slot`."""
        ...

    def dispatch(self) -> None:
        """Go to the worker that `find_slot` chose: it has left the queue."""
        ...

    def refuse(self, error: PenstockError) -> None:
        """It has left the queue without being served."""
        ...


class SlotGroup:
    """Those that may use exactly the same slots: when there is none for one of them, there is none for any."""

    __slots__ = ("key", "length", "sample")

    def __init__(self, key: tuple[tuple[Pool, ...], frozenset[str]], sample: QueuedRequest) -> None:
        self.key = key
        self.sample = sample
        """The first that came; to ask about slots, one is as good as another."""
        self.length = 0


class QueueEntry:
    """One stay in the queue; what decides about it is frozen here when it begins."""

    __slots__ = ("cost", "give_up_at", "group", "number", "org_id", "request", "service", "service_class", "too_long_at")

    def __init__(self, request: QueuedRequest, number: int, group: SlotGroup, patience_seconds: float) -> None:
        self.request = request
        self.number = number
        """Of its arrival."""
        self.group = group
        self.service_class = request.service_class
        self.org_id = request.org_id
        self.give_up_at = request.give_up_at
        self.too_long_at = request.queued_at + patience_seconds
        uncached = max(request.prompt_tokens - request.cached_tokens, 0)
        self.cost = uncached + request.max_tokens or 1
        """Tokens that a worker must compute at most, as the classes' turns count them."""
        self.service = uncached
        """Those of the prompt, which its tenant is charged when it goes to a worker; its output is charged as it comes."""
