"""Which decisions are kept in the store: all that people ask about, and some of the others."""

from collections.abc import Callable

from penstock.domain.outcome import RequestOutcome
from penstock.serving.explain.ring import DecisionRing

_SLOW_QUEUE_SECONDS = 1.0


class DecisionSample:
    """Asked now and then what has come since; bounded, however much has."""

    def __init__(self, ring: DecisionRing, share: float, most: int, random: Callable[[], float]) -> None:
        """`share`: of the decisions that went as they should; `most`: decisions at a time, those that did not first."""
        self._ring = ring
        self._share = share
        self._most = most
        self._random = random

    def take(self) -> list[RequestOutcome]:
        telling: list[RequestOutcome] = []
        ordinary: list[RequestOutcome] = []
        for decision in self._ring.news():
            if decision.code or decision.tries or decision.queue_seconds > _SLOW_QUEUE_SECONDS:
                telling.append(decision)
            elif self._random() < self._share:
                ordinary.append(decision)
        # Of too many of the same kind the latest say as much as all.
        kept = telling[-self._most :]
        room = self._most - len(kept)
        return kept + (ordinary[-room:] if room else [])
