"""Which decisions are kept in the store: all that people ask about, and some of the others."""

from collections.abc import Callable

from penstock.serving.explain.decision import Decision, Ring, decided

_SLOW_QUEUE_SECONDS = 1.0


class Sample:
    """Asked now and then what has come since; bounded, however much has."""

    def __init__(self, ring: Ring, share: float, most: int, random: Callable[[], float]) -> None:
        """`share`: of the decisions that went as they should; `most`: decisions at a time, those that did not first."""
        self._ring = ring
        self._share = share
        self._most = most
        self._random = random

    def take(self) -> list[Decision]:
        telling: list[Decision] = []
        ordinary: list[Decision] = []
        for entry in self._ring.news():
            decision = decided(entry)
            if decision.code or decision.tries or decision.queue_seconds > _SLOW_QUEUE_SECONDS:
                telling.append(decision)
            elif self._random() < self._share:
                ordinary.append(decision)
        # Of too many of the same kind the latest say as much as all.
        kept = telling[-self._most :]
        room = self._most - len(kept)
        return kept + (ordinary[-room:] if room else [])
