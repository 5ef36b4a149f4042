"""Durations counted in buckets: one set of bounds for every histogram that a gateway exposes."""

from typing import Final

_FIRST_BOUND: Final = 2.0**-11
_LAST_BOUND: Final = 2.0**9
BOUNDS_SECONDS: Final = tuple(2.0**power for power in range(-11, 10))
"""Upper bounds of the buckets: each twice the one before, from 0.5 ms to 512 s."""
_LABELS: Final = (*map(repr, BOUNDS_SECONDS), "+Inf")


def bucket_of(seconds: float) -> int:
    """The index of the first of `BOUNDS_SECONDS` that is not below it, or their number. Doubling finds it sooner than a search."""
    bound, bucket = _FIRST_BOUND, 0
    while bound < seconds and bound <= _LAST_BOUND:
        bound *= 2.0
        bucket += 1
    return bucket


class Histogram:
    """Counts by bucket, and their sum in seconds."""

    __slots__ = ("counts", "total_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_SECONDS) + 1)
        """By the index that `bucket_of` gives; the last one is what is longer than every bound."""
        self.total_seconds = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bucket_of(seconds)] += 1
        self.total_seconds += seconds

    def merge(self, other: "Histogram") -> None:
        for bucket, count in enumerate(other.counts):
            self.counts[bucket] += count
        self.total_seconds += other.total_seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, durations that are not above it), as Prometheus wants them."""
        result, so_far = [], 0
        for bound, count in zip(_LABELS, self.counts, strict=True):
            so_far += count
            result.append((bound, float(so_far)))
        return result
