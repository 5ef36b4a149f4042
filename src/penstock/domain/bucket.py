"""A rate limit of one subject: a leaky bucket.

It is GCRA (ITU-T I.371) kept as a level in units instead of an arrival time in seconds: the same decisions, but a level
is never far from the limit's own size, so that a float stays exact to a millionth of a unit however long the process lives.

Burst: the bucket holds one whole minute. A key that was idle may use its minute at once, as OpenAI's may, and from then on units
come back continuously, not on the stroke of a minute. In any stretch of t seconds no more than `limit + limit x t / 60` are taken.
"""

import math
from typing import Final

_SLACK: Final = 1e-6  # units: what rounding may cost before a bucket that is full for people counts as full
_MOST_MINUTES: Final = 3.0
"""Of the limit, that may be owed: one request that used far more than it reserved does not lock its organisation out for longer."""
_MARGIN: Final = 1e-6  # seconds added to a wait, so that a clock of coarse resolution has certainly passed it


class Bucket:
    """Synchronous: where several gateways share a limit, this one's bucket holds what it has leased beforehand.

    A class and no Protocol: it is asked eight times for every request. `_level` is what was used and has not come back, as of `_at`.
    """

    __slots__ = ("_at", "_ceiling", "_level", "_per_second", "forgotten", "limit")

    def __init__(self, limit: int, now: float) -> None:
        self._at = now
        self._level = 0.0
        self.forgotten = False
        """The quotas have let go of it: there is, or will be, another of its name. A caller that keeps one looks here before using it."""
        self.resize(limit)

    def resize(self, limit: int) -> None:
        """After a lower limit no request waits longer than a minute for what the old one allowed."""
        self.limit = max(0, limit)
        """Units a minute."""
        self._ceiling = self.limit + _SLACK
        self._per_second = self.limit / 60.0
        self._level = min(self._level, float(self.limit))

    # Conditions instead of max(), and no shared helper: these three run several times for every request.

    def reserve(self, amount: float, now: float) -> float:
        """Take `amount` units and return 0.0, or take nothing and return the seconds to wait; inf: never possible."""
        level = self._level
        elapsed = now - self._at
        if elapsed > 0.0:  # a caller with an older reading of the clock must not take time back
            level -= elapsed * self._per_second
            if level < 0.0:
                level = 0.0
            self._level = level
            self._at = now
        after = level + amount
        if after <= self._ceiling:
            self._level = after
            return 0.0
        if amount > self.limit:
            return math.inf
        return (after - self.limit) / self._per_second + _MARGIN

    def settle(self, amount: float) -> None:
        """Give back `amount` reserved units that were not used (negative: take units that were used beyond them, within bounds)."""
        # Never below empty: what was reserved so long ago that it has come back by itself is not given back twice.
        level = self._level - amount
        if amount < 0.0 and level > self.limit * _MOST_MINUTES:
            level = max(self._level, self.limit * _MOST_MINUTES)
        self._level = level if level > 0.0 else 0.0

    def remaining(self, now: float) -> int:
        """Whole units that could be taken at once."""
        elapsed = now - self._at
        level = self._level - elapsed * self._per_second if elapsed > 0.0 else self._level
        if level <= 0.0:
            return self.limit
        return int(self._ceiling - level) if level < self._ceiling else 0

    def reset_seconds(self, now: float) -> float:
        """Until the bucket is full again."""
        elapsed = now - self._at
        level = self._level - elapsed * self._per_second if elapsed > 0.0 else self._level
        if level <= _SLACK or not self.limit:
            return 0.0
        return level / self._per_second

    def standing(self, now: float) -> tuple[int, float]:
        """`remaining` and `reset_seconds` in one go: every answer tells both."""
        elapsed = now - self._at
        level = self._level - elapsed * self._per_second if elapsed > 0.0 else self._level
        if level <= _SLACK or not self.limit:
            return (self.limit, 0.0)
        return (int(self._ceiling - level) if level < self._ceiling else 0, level / self._per_second)

    def idle(self, now: float) -> bool:
        """Full, and not touched for a minute: forgetting it changes no decision."""
        return now - self._at >= 60.0 and self.reset_seconds(now) == 0.0
