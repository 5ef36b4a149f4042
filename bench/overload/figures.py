"""What the hits of a phase add up to."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.overload.client import Hit
from bench.overload.traffic import TIMEOUT_SECONDS
from penstock.rehearsal.figures import quantile

TOKEN_SECONDS = 0.15


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
    """How long those refusals took that were made on arrival; who was told after a wait had been given a place in line first."""
    return [hit.seconds for hit in hits if hit.refused and hit.status in {429, 503, 504} and hit.seconds is not None and hit.seconds < 1.0]


def of(hits: Iterable[Hit], group: str) -> list[Hit]:
    return [hit for hit in hits if hit.group == group]


def settled_after(hits: Sequence[Hit], step_at: float, until: float, bin_seconds: float = 0.5) -> float:
    """Seconds from the step until the share of refusals is, and stays, what it is on average in the second half of the phase."""
    half = (step_at + until) / 2
    final = shed([hit for hit in hits if half <= hit.at < until])
    settled = 0.0
    at = step_at
    while at < until:
        part = [hit for hit in hits if at <= hit.at < at + bin_seconds]
        if len(part) >= 10:
            # What chance alone would do to so few requests, three times over.
            slack = 3 * math.sqrt(max(final * (1 - final), 0.02) / len(part))
            if abs(shed(part) - final) > slack:
                settled = at + bin_seconds - step_at
        at += bin_seconds
    return settled
