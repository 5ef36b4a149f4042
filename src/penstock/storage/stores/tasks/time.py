"""The store's clock: what all processes that share a store agree on, and what does not jump when an operator sets a machine's clock."""

from math import inf

from penstock.domain.clock import Clock
from penstock.domain.durable.leases import LEASE_SECONDS

_LOOK_SECONDS = 1.0
_STEP_SECONDS = 1.0
"""A difference that is more than drift: a clock has been set."""
RELEARN_SECONDS = 10.0
"""How often a process looks at a server's clock."""


class StoreTime:
    """Monotonic time, moved to where the wall clock (or the database's) is.

    A step of the clock is followed at once, for what is due by the calendar. Leases are another matter: beats from before the step
    and a time from after it say nothing about whether a runner lives, so no runner is given up until all have beaten again.
    """

    def __init__(self, clock: Clock, *, follow: bool) -> None:
        """`follow`: the wall clock of this machine; otherwise only what `observe` is told."""
        self._clock = clock
        self._follow = follow
        self._offset = clock.time() - clock.monotonic()
        self._looked = clock.monotonic()
        self._stepped = -inf

    def now(self) -> float:
        monotonic = self._clock.monotonic()
        if self._follow and monotonic - self._looked >= _LOOK_SECONDS:
            self.observe(self._clock.time())
        return monotonic + self._offset

    @property
    def stale(self) -> bool:
        """A server's clock should be looked at again."""
        return not self._follow and self._clock.monotonic() - self._looked >= RELEARN_SECONDS

    def observe(self, actual: float, *, first: bool = False) -> None:
        """What the clock that counts shows now; `first`: no caller has got another time from us."""
        monotonic = self._looked = self._clock.monotonic()
        difference = actual - monotonic - self._offset
        self._offset += difference
        if abs(difference) > _STEP_SECONDS and not first:
            self._stepped = monotonic

    @property
    def trusted(self) -> bool:
        """Whether times that runners left in the store can be compared with `now`."""
        return self._clock.monotonic() - self._stepped >= LEASE_SECONDS + RELEARN_SECONDS
