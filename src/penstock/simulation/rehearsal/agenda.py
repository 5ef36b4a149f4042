"""A virtual clock, and what happens when: one heap of events, no waiting."""

import heapq
from collections.abc import Callable

_EPOCH = 1_700_000_000.0


class Agenda:
    """Implements `domain.clock.Clock`. Of events at the same moment the one that was noted first comes first."""

    def __init__(self, start: float = 1_000.0) -> None:
        self.now = start
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._noted = 0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return _EPOCH + self.now

    def at(self, when: float, act: Callable[[], None]) -> None:
        """What is noted for the past happens now."""
        self._noted += 1
        heapq.heappush(self._events, (max(when, self.now), self._noted, act))

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self.at(self.now + seconds, act)

    def every(self, seconds: float, act: Callable[[], None]) -> None:
        """From now on, and for ever: `run` ends by its own moment alone."""

        def again() -> None:
            act()
            self.after(seconds, again)

        self.after(seconds, again)

    def run(self, until: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until `until`, or until `stop` says so after an event."""
        events = self._events
        while events and events[0][0] <= until:
            when, _, act = heapq.heappop(events)
            self.now = when
            act()
            if stop():
                return
        self.now = max(self.now, until)
