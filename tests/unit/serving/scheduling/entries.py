"""Requests that are queued, and a worker that takes them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from penstock.domain.errors import PenstockError
from penstock.domain.principal import Pool, ServiceClass
from penstock.serving.scheduling.queue_entry import Debt
from penstock.serving.scheduling.request_queue import RequestQueue

STANDARD, PRIORITY = (Pool.STANDARD,), (Pool.PRIORITY, Pool.STANDARD)


@dataclass
class Slots:
    """What entries find when the queue is served."""

    fits: Callable[["Entry"], bool] = lambda entry: False
    taken: Callable[["Entry"], None] = lambda entry: None


SLOTS = Slots()


@dataclass(eq=False)
class Entry:
    name: int = 0
    service_class: ServiceClass = ServiceClass.FREE
    pools: tuple[Pool, ...] = STANDARD
    queued_at: float = 0.0
    give_up_at: float = 100.0
    org_id: str = "org"
    excluded: frozenset[str] = frozenset()
    prompt_tokens: int = 100
    cached_tokens: int = 0
    max_tokens: int = 28
    debt: Debt | None = field(default=None, init=False)
    error: PenstockError | None = field(default=None, init=False)

    def find_slot(self) -> bool:
        return SLOTS.fits(self)

    def has_capacity(self) -> bool:
        return True

    def dispatch(self) -> None:
        SLOTS.taken(self)

    def refuse(self, error: PenstockError) -> None:
        assert self.error is None
        self.error = error


def offer(queue: RequestQueue, now: float, fits: Callable[[Entry], bool], taken: Callable[[Entry], None] = lambda entry: None) -> None:
    """Serve the queue: an entry finds a slot if it `fits`, and `taken` is what happens when it is dispatched."""
    SLOTS.fits, SLOTS.taken = fits, taken
    queue.serve(now)


def serve(queue: RequestQueue, room: int, now: float = 0.0, only: Callable[[Entry], bool] = lambda entry: True) -> list[Entry]:
    """Those who were placed while there was room."""
    served: list[Entry] = []

    offer(queue, now, lambda entry: len(served) < room and only(entry), served.append)
    return served


def joined(queue: RequestQueue, *entries: Entry) -> list[Entry]:
    for entry in entries:
        queue.enqueue(entry, entry.queued_at)
    return list(entries)
