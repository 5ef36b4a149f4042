"""What the hits of a phase add up to."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.overload.client import Hit
from bench.overload.traffic import TIMEOUT_SECONDS
from penstock.simulation.rehearsal.figures import quantile

TOKEN_SECONDS = 0.15
SETTLED_BAND = 0.1
SETTLED_ERRORS = 2.0
"""Standard errors that a mean of several runs may be off by chance."""
"""As on a control chart: chance alone leaves such a band once in some hundred bins."""


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    rate: float
    """Requests a second that were asked."""
    seconds: float
    hits: Sequence[Hit]
    cpu_share: float
    """Of all cores of the machine, whoever used it."""
    own_cpu_share: float
    """Of all cores, by the gateway and its workers."""

    @property
    def late_p99_seconds(self) -> float:
        return quantile((hit.late_seconds for hit in self.hits), 0.99)


def served_well(hit: Hit) -> bool:
    """Its first token came before its client's patience ended, and the others at the workers' pace."""
    if not hit.completed or hit.first_token_seconds is None or hit.seconds is None:
        return False
    between = (hit.seconds - hit.first_token_seconds) / max(1, hit.tokens - 1)
    return hit.first_token_seconds <= TIMEOUT_SECONDS and between <= TOKEN_SECONDS


def goodput(hits: Iterable[Hit], start: float, end: float) -> float:
    return sum(1 for hit in hits if start <= hit.at < end and served_well(hit)) / (end - start)


def success(hits: Sequence[Hit]) -> float:
    return sum(hit.completed for hit in hits) / len(hits) if hits else math.nan


def shed(hits: Sequence[Hit]) -> float:
    return sum(hit.refused for hit in hits) / len(hits) if hits else math.nan


def first_token(hits: Iterable[Hit], share: float) -> float:
    return quantile((hit.first_token_seconds for hit in hits if hit.completed and hit.first_token_seconds is not None), share)


def completion(hits: Iterable[Hit], share: float) -> float:
    return quantile((hit.seconds for hit in hits if hit.completed and hit.seconds is not None), share)


def at_once(hits: Iterable[Hit]) -> list[float]:
    """How long those refusals took that were made on arrival; who was told after a wait had been given a place in the queue first."""
    return [
        hit.seconds for hit in hits if hit.refused and hit.status in {429, 503, 504} and hit.seconds is not None and not hit.waited_seconds
    ]


def of(hits: Iterable[Hit], group: str) -> list[Hit]:
    return [hit for hit in hits if hit.group == group]


@dataclass(frozen=True, slots=True)
class Settling:
    """How something that is measured over time goes from one level to another."""

    before: float
    after: float
    """On average in the second half of the time after the step."""
    seconds: float
    """From the step until it is, and stays, within a tenth of the way between the two levels of the second."""
    error: float = 0.0
    """The largest standard error of the means after the step, as a share of that way; 0: not known."""


def settling(series: Sequence[tuple[float, float]], step_at: float, until: float, bin_seconds: float) -> Settling:
    """`series`: the middle of each bin, and the mean in it."""
    return settling_of([series], step_at, until, bin_seconds)


def settling_of(runs: Sequence[Sequence[tuple[float, float]]], step_at: float, until: float, bin_seconds: float) -> Settling:
    """As `settling`, of the mean of several runs, of which it is known how far chance takes it: a bin is away from its level when its
    mean is outside the band by more than `SETTLED_ERRORS` standard errors. A drift does not widen this band; more runs make it narrower."""
    at_bin: dict[float, list[float]] = {}
    for series in runs:
        for at, value in series:
            at_bin.setdefault(at, []).append(value)
    means = [(at, _mean(values)) for at, values in sorted(at_bin.items())]
    errors = {at: _error(values) for at, values in at_bin.items() if at >= step_at}
    before = _mean([value for at, value in means if at < step_at])
    after = _mean([value for at, value in means if (step_at + until) / 2 <= at < until])
    way = abs(after - before)
    away = [at for at, value in means if step_at <= at < until and abs(value - after) > SETTLED_BAND * way + SETTLED_ERRORS * errors[at]]
    worst = max(errors.values(), default=0.0) / way if way else 0.0
    return Settling(before, after, max(away) + bin_seconds / 2 - step_at if away else 0.0, worst)


def _error(values: Sequence[float]) -> float:
    """The standard error of their mean."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def refused_over_time(runs: Sequence[Sequence[Hit]], seconds: float, bin_seconds: float) -> list[tuple[float, float]]:
    """Over all of the runs: the middle of each bin, and the share of those that came in it who were refused, whenever they were told."""
    found = []
    for number in range(int(seconds / bin_seconds)):
        start = number * bin_seconds
        part = [hit for hits in runs for hit in hits if start <= hit.at < start + bin_seconds]
        if part:
            found.append((start + bin_seconds / 2, shed(part)))
    return found
