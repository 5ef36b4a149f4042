"""Time is passed in: production gets the system's clock, a test or a simulation its own."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks that must not be mixed: durations and deadlines use `monotonic`, dates for people use `time`."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never steps back."""
        ...

    def time(self) -> float:
        """Seconds since the Unix epoch; may step when an operator sets the clock."""
        ...


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        # Bound once: the hot path calls the C function itself.
        self.monotonic = time.monotonic
        self.time = time.time


class ManualClock:
    """A clock that stands still until it is told to move (tests, simulations)."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._offset = 0.0

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now + self._offset

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises ValueError for a negative duration: monotonic time never steps back."""
        if seconds < 0:
            raise ValueError(f"time cannot pass backwards: {seconds}")
        self._now += seconds

    def set_back(self, seconds: float) -> None:
        """Step the wall clock alone, as an operator (or NTP) would; negative steps it forward."""
        self._offset -= seconds
