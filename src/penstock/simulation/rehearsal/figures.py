"""What results add up to: quantiles, goodput, fairness, intervals over seeds."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from penstock.domain.principal import ServiceClass
from penstock.simulation.rehearsal.outcomes import RequestResult

_T_95 = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
    2.120,
    2.110,
    2.101,
    2.093,
)
"""Student's t, two-sided 95 %, for 1 to 19 degrees of freedom."""
_NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Objective:
    """What a class calls served well. Seconds."""

    first_token_seconds: float
    token_seconds: float


OBJECTIVES: Mapping[ServiceClass, Objective] = {
    ServiceClass.SYSTEM: Objective(5.0, 0.1),
    ServiceClass.ENTERPRISE: Objective(5.0, 0.1),
    ServiceClass.PREMIUM: Objective(10.0, 0.1),
    ServiceClass.FREE: Objective(20.0, 0.1),
    ServiceClass.BATCH: Objective(3600.0, 1.0),
}


class Interval(NamedTuple):
    """A mean over seeds, and half the width of its 95 % interval (0 for a single seed)."""

    mean: float
    half: float
    worst: float
    """The largest of all."""
    least: float


def interval(values: Sequence[float]) -> Interval:
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Interval(mean, 0.0, max(values), min(values))
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    t = _T_95[count - 2] if count - 2 < len(_T_95) else _NORMAL_95
    return Interval(mean, t * deviation / math.sqrt(count), max(values), min(values))


def quantile(values: Iterable[float], share: float) -> float:
    """The nearest rank; nan for no values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def first_token(results: Iterable[RequestResult], share: float) -> float:
    return quantile((one.first_token_seconds for one in results if one.completed and one.first_token_seconds is not None), share)


def completion(results: Iterable[RequestResult], share: float) -> float:
    return quantile((one.seconds for one in results if one.completed and one.seconds is not None), share)


def per_token(results: Iterable[RequestResult], share: float) -> float:
    return quantile((seconds for one in results if (seconds := one.token_seconds) is not None), share)


def served_well(one: RequestResult) -> bool:
    """It met what its class promises, both to the first token and between two."""
    if not one.completed or one.first_token_seconds is None:
        return False
    objective = OBJECTIVES[one.ask.service_class]
    between = one.token_seconds
    return one.first_token_seconds <= objective.first_token_seconds and (between is None or between <= objective.token_seconds)


def goodput(results: Iterable[RequestResult], start: float, end: float) -> float:
    """Requests a second that were served well, of those that came between `start` and `end`."""
    return sum(1 for one in results if start <= one.ask.at < end and served_well(one)) / (end - start)


def share(results: Sequence[RequestResult], which: Callable[[RequestResult], bool]) -> float:
    """nan when there are none."""
    return sum(map(which, results)) / len(results) if results else math.nan


def of_class(results: Iterable[RequestResult], service_class: ServiceClass) -> list[RequestResult]:
    return [one for one in results if one.ask.service_class is service_class]


def jain(amounts: Sequence[float]) -> float:
    """1: all have the same; 1 / n: one has everything."""
    square = math.fsum(amounts) ** 2
    return square / (len(amounts) * math.fsum(amount * amount for amount in amounts)) if square else 1.0


def by_class(results: Sequence[RequestResult], start: float, end: float) -> dict[str, float]:
    """The figures of every class that asked, by `<class> <figure>`."""
    counted = [one for one in results if start <= one.ask.at < end]
    figures: dict[str, float] = {}
    for each in ServiceClass:
        own = of_class(counted, each)
        if not own:
            continue
        name = each.name.lower()
        figures |= {
            f"{name} TTFT p50 s": first_token(own, 0.5),
            f"{name} TTFT p99 s": first_token(own, 0.99),
            f"{name} completion p50 s": completion(own, 0.5),
            f"{name} completion p99 s": completion(own, 0.99),
            f"{name} TPOT p50 ms": 1000 * per_token(own, 0.5),
            f"{name} TPOT p99 ms": 1000 * per_token(own, 0.99),
            f"{name} success": share(own, lambda one: one.completed),
            f"{name} shed": share(own, lambda one: one.refused),
        }
    return figures
