"""How many requests may be tried again: a share of those in flight, and a share of all, so that retries cannot feed an outage."""

import math

_PER_SECOND = 0.1
"""Where there are hardly any requests, a retry is earned in ten seconds all the same."""


class RetryBudget:
    """Two bounds, for two kinds of outages.

    Retries in flight <= max(floor, share x requests in flight) (Envoy's retry budget): workers that are slow to fail. Workers that fail at
    once leave nothing in flight to be a share of, so what does not help must be earned too: each request earns share / (1 + share) of a
    retry, and no more are kept than may be in flight. A retry that got its request answered costs nothing.
    """

    __slots__ = ("_at", "_earned", "_floor", "_seen", "_share", "active", "begun", "retrying")

    def __init__(self, share: float = 0.2, floor: int = 3) -> None:
        self._share = share
        self._floor = floor
        self.active = 0
        self.begun = 0
        """Requests since the start."""
        self.retrying = 0
        self._earned = math.inf
        self._seen = 0
        self._at = math.inf

    def take(self, now: float) -> bool:
        """One more retry, when the budget has room; the caller gives it back when the request is over. `now`: monotonic."""
        most = max(self._floor, int(self.active * self._share))
        earned = (self.begun - self._seen) * self._share / (1 + self._share) + max(0.0, now - self._at) * _PER_SECOND
        self._earned = min(float(most), self._earned + earned)
        self._seen, self._at = self.begun, now
        if self.retrying >= most or self._earned < 1.0:
            return False
        self._earned -= 1.0
        self.retrying += 1
        return True

    def release(self, count: int, *, helped: bool) -> None:
        """The request is over; `helped`: it was answered in the end."""
        self.retrying -= count
        if helped:
            self._earned += count
