"""The waiting line of one model: bounded, classes in order, first come first served inside a class, deadlines kept.

The fair queue (classes by weight, tenants by tokens) takes this file's place behind the same four methods.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from penstock.domain.errors import DeadlineExceeded, Overloaded, RateLimited
from penstock.domain.principal import Pool, ServiceClass

_NO_LONGER_THAN_SECONDS = 30.0


class Waiting(Protocol):
    """What stands in line."""

    service_class: ServiceClass
    pools: tuple[Pool, ...]
    queued_at: float
    """Monotonic seconds."""
    give_up_at: float
    """Monotonic seconds after which nobody waits for it any more."""
    left: bool
    """It left the line by itself; the line forgets it when it comes across it."""


class Line:
    """One model's queue. A request that could be placed at once never comes here."""

    def __init__(self, limit: int, drain_window_seconds: float = 10.0) -> None:
        self._limit = limit
        # One lane for each pair of class and pools: a request that must wait for a pool does not hold up those beside it.
        self._lanes: dict[tuple[ServiceClass, tuple[Pool, ...]], deque[Waiting]] = {}
        self._order: list[deque[Waiting]] = []
        self.length = 0
        self._served: deque[float] = deque(maxlen=256)
        self._window = drain_window_seconds

    def __len__(self) -> int:
        return self.length

    def join(self, entry: Waiting, now: float) -> None:
        """Stand in line. Raises RateLimited when the line is full, DeadlineExceeded when the deadline cannot be met."""
        wait = self.expected_wait(now)
        if self.length >= self._limit:
            raise RateLimited("The queue of this model is full.", retry_after_seconds=min(max(wait, 1.0), _NO_LONGER_THAN_SECONDS))
        if now + wait > entry.give_up_at:
            raise DeadlineExceeded("The request could not be served before its deadline.", retry_after_seconds=min(max(wait, 1.0), 30.0))
        key = (entry.service_class, entry.pools)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = deque()
            self._order = [self._lanes[each] for each in sorted(self._lanes, key=lambda each: each[0])]
        lane.append(entry)
        self.length += 1

    def leave(self, entry: Waiting) -> None:
        """Nobody waits for it any more (the client left, the deadline passed)."""
        if not entry.left:
            entry.left = True
            self.length -= 1

    def serve(self, place: Callable[[Waiting], bool], now: float) -> None:
        """Offer each lane's first entry to `place` until no lane's first can be placed."""
        for lane in self._order:
            while lane:
                entry = lane.popleft()
                if entry.left:
                    continue
                # Out before it is placed: a worker may fail at once, and then it stands in line again.
                entry.left = True
                self.length -= 1
                if not place(entry):
                    entry.left = False
                    self.length += 1
                    lane.appendleft(entry)
                    break
                self._served.append(now)

    def overdue(self, now: float) -> list[Waiting]:
        """Takes those out whose time has passed; the caller tells them."""
        late = [entry for lane in self._order for entry in lane if not entry.left and entry.give_up_at <= now]
        for entry in late:
            self.leave(entry)
        return late

    def empty(self) -> list[Waiting]:
        """Takes everybody out (the process is stopping)."""
        everyone = [entry for lane in self._order for entry in lane if not entry.left]
        for entry in everyone:
            self.leave(entry)
        return everyone

    def expected_wait(self, now: float) -> float:
        """Seconds, from how fast the line has moved lately; 0 when that is not known, so that no one is refused on a guess."""
        while self._served and self._served[0] < now - self._window:
            self._served.popleft()
        if len(self._served) < 2:
            return 0.0
        rate = len(self._served) / max(now - self._served[0], 1e-3)
        return self.length / rate


def refuse_unserved(model: str) -> Overloaded:
    """Nobody serves the model at this moment, although somebody is known to."""
    return Overloaded(f"No worker is ready to serve '{model}' at the moment.", retry_after_seconds=2.0)
