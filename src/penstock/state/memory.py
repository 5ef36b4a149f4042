"""Rate limits counted in this process: one leaky bucket a name.

The bucket is GCRA (ITU-T I.371) kept as a level in units instead of an arrival time in seconds: the same decisions, but a level
is never far from the limit's own size, so that a float stays exact to a millionth of a unit however long the process lives.

Burst: the bucket holds one whole minute. A key that was idle may use its minute at once, as OpenAI's may, and from then on units
come back continuously, not on the stroke of a minute. In any stretch of t seconds no more than `limit + limit x t / 60` are taken.
"""

import math

from penstock.domain.clock import Clock

_SLACK = 1e-6  # units: what rounding may cost before a bucket that is full for people counts as full
_MARGIN = 1e-6  # seconds added to a wait, so that a clock of coarse resolution has certainly passed it
_EXAMINED = 4  # old buckets looked at for every new one: more than one, so that they go faster than they come


class MemoryBucket:
    """A `Bucket`. `_level` is what was used and has not come back, as of `_at`."""

    __slots__ = ("_at", "_ceiling", "_level", "_per_second", "forgotten", "limit")

    def __init__(self, limit: int, now: float) -> None:
        self._at = now
        self._level = 0.0
        self.forgotten = False
        self.resize(limit)

    def resize(self, limit: int) -> None:
        """A lower limit makes nobody wait longer than a minute for what the old one allowed."""
        self.limit = max(0, limit)
        self._ceiling = self.limit + _SLACK
        self._per_second = self.limit / 60.0
        self._level = min(self._level, float(self.limit))

    # Conditions instead of max(), and no shared helper: these three run several times for every request.

    def reserve(self, amount: float, now: float) -> float:
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
        # Never below empty: what was reserved so long ago that it has come back by itself is not given back twice.
        level = self._level - amount
        self._level = level if level > 0.0 else 0.0

    def remaining(self, now: float) -> int:
        elapsed = now - self._at
        level = self._level - elapsed * self._per_second if elapsed > 0.0 else self._level
        if level <= 0.0:
            return self.limit
        return int(self._ceiling - level) if level < self._ceiling else 0

    def reset_seconds(self, now: float) -> float:
        elapsed = now - self._at
        level = self._level - elapsed * self._per_second if elapsed > 0.0 else self._level
        if level <= _SLACK or not self.limit:
            return 0.0
        return level / self._per_second

    def standing(self, now: float) -> tuple[int, float]:
        elapsed = now - self._at
        level = self._level - elapsed * self._per_second if elapsed > 0.0 else self._level
        if level <= _SLACK or not self.limit:
            return (self.limit, 0.0)
        return (int(self._ceiling - level) if level < self._ceiling else 0, level / self._per_second)

    def idle(self, now: float) -> bool:
        """Full, and not touched for a minute: forgetting it changes no decision."""
        return now - self._at >= 60.0 and self.reset_seconds(now) == 0.0


class MemoryQuotas:
    """`Quotas` of one process. Whoever keeps a bucket asks it whether it is `forgotten` before each use.

    Idle buckets leave a few at a time as new ones come, so that no request ever waits for a sweep and memory follows the number
    of subjects that were active within a minute.
    """

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._buckets: dict[str, MemoryBucket] = {}
        self._names: list[str] = []
        self._hand = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def bucket(self, name: str, per_minute: int) -> MemoryBucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            return self._add(name, per_minute)
        if bucket.limit != per_minute:
            bucket.resize(per_minute)
        return bucket

    def _add(self, name: str, per_minute: int) -> MemoryBucket:
        now = self._now()
        self._forget_idle(now)
        bucket = self._buckets[name] = MemoryBucket(per_minute, now)
        self._names.append(name)
        return bucket

    def _forget_idle(self, now: float) -> None:
        """Move a hand a few names on around all of them; a name that goes leaves its place to the last one."""
        for _ in range(min(_EXAMINED, len(self._names))):
            self._hand %= len(self._names)
            name = self._names[self._hand]
            if not self._buckets[name].idle(now):
                self._hand += 1
                continue
            self._buckets.pop(name).forgotten = True
            last = self._names.pop()
            if last != name:
                self._names[self._hand] = last


MEMBER = MemoryQuotas
