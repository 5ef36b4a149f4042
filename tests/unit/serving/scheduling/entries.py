"""Requests that stand in line, and a worker that takes them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from penstock.domain.errors import PenstockError
from penstock.domain.principal import Pool, ServiceClass
from penstock.serving.scheduling.queue_entry import Debt
from penstock.serving.scheduling.request_queue import RequestQueue

STANDARD, PRIORITY = (Pool.STANDARD,), (Pool.PRIORITY, Pool.STANDARD)


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

    def refuse(self, error: PenstockError) -> None:
        assert self.error is None
        self.error = error


def serve(queue: RequestQueue, room: int, now: float = 0.0, only: Callable[[Entry], bool] = lambda entry: True) -> list[Entry]:
    """Those who were placed while there was room."""
    served: list[Entry] = []

    def place(entry: object) -> bool:
        assert isinstance(entry, Entry)
        if len(served) >= room or not only(entry):
            return False
        served.append(entry)
        return True

    queue.serve(place, now)
    return served


def joined(queue: RequestQueue, *entries: Entry) -> list[Entry]:
    for entry in entries:
        queue.enqueue(entry, entry.queued_at)
    return list(entries)
