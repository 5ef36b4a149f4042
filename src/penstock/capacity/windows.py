"""Numbers of the last so many seconds, in buckets of a second: always the same memory."""

import math
from collections import deque


class Mean:
    """Of what was noted in the last `seconds`; each second that has something counts the same, however often it was noted in it."""

    __slots__ = ("_buckets", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._buckets: deque[tuple[int, float, int]] = deque()
        """A second, the sum of what was noted in it, and how often."""

    def note(self, value: float, now: float) -> float:
        """The mean, this value included."""
        buckets, second = self._buckets, math.floor(now)
        total, count = value, 1
        if buckets and buckets[-1][0] == second:
            _, before, times = buckets.pop()
            total, count = before + value, times + 1
        buckets.append((second, total, count))
        while buckets[0][0] <= now - self._seconds and len(buckets) > 1:
            buckets.popleft()
        return math.fsum(total / count for _, total, count in buckets) / len(buckets)


class Extreme:
    """The largest of what was noted in the last `seconds`, or with `sign` -1 the smallest."""

    __slots__ = ("_kept", "_seconds", "_sign")

    def __init__(self, seconds: float, sign: int = 1) -> None:
        self._seconds = seconds
        self._sign = sign
        self._kept: deque[tuple[float, int]] = deque()
        """When, and what; each one greater (or smaller) than those after it."""

    def set_window(self, seconds: float) -> None:
        """Of so many seconds from now on; what has been forgotten stays so."""
        self._seconds = seconds

    def note(self, value: int, now: float) -> int:
        """The extreme, this value included."""
        kept = self._kept
        while kept and (value - kept[-1][1]) * self._sign >= 0:
            kept.pop()
        kept.append((now, value))
        while kept[0][0] <= now - self._seconds and len(kept) > 1:
            kept.popleft()
        return kept[0][1]
