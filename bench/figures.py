"""What is made of raw measurements: percentiles, spreads, ratios, and which measurements say nothing."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_BUSY = 0.95
"""Of one core: a process with one thread that is as busy as this can do no more."""
_HEADROOM = 0.85
"""Of one core: a contender below it was waiting for somebody else."""


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; `share` from 0 to 1."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """None when there is nothing to say."""
        return cls(statistics.median(values), min(values), max(values)) if values else None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender under load for a few seconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Of the contender's processes, for each request."""
    void: str = ""
    """Why it says nothing about the contender; empty: it does."""


def void_reason(bad: int, own_cores: float, upstream_cores: float, generator_cores: float) -> str:
    """Whether something other than the contender decided the result: its errors, or a busy helper while it had time to spare.

    The cores are CPU seconds for each second of the run; the upstream's for each of its processes.
    """
    if bad:
        return f"{bad} bad answers"
    if own_cores >= _HEADROOM:
        return ""
    if upstream_cores >= _BUSY:
        return f"the upstream was the limit ({upstream_cores:.2f} cores, the contender {own_cores:.2f})"
    if generator_cores >= _BUSY:
        return f"the load generator was the limit ({generator_cores:.2f} cores, the contender {own_cores:.2f})"
    return ""


def ratios(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> Spread | None:
    """Requests/s of ours to theirs, each to the measurement of the same round: what slows a whole round cancels out."""
    pairs = zip(ours, theirs, strict=False)
    return Spread.of([one.per_second / other.per_second for one, other in pairs if not one.void and not other.void and other.per_second])
