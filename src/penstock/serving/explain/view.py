"""The latest decisions, for the control API."""

from penstock.domain.decisions import Explanation
from penstock.serving.explain.ring import DecisionRing
from penstock.serving.explain.words import explanation


class RingView:
    """Implements `domain.ports.DecisionView`."""

    def __init__(self, ring: DecisionRing) -> None:
        self._ring = ring

    def find(self, request_id: str) -> Explanation | None:
        decision = self._ring.find(request_id)
        return None if decision is None else explanation(decision)

    def latest(self, org_id: str | None, count: int) -> list[Explanation]:
        return [explanation(decision) for decision in self._ring.latest(org_id, count)]
