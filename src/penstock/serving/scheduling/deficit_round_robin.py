"""Which class is next: deficit round robin (Shreedhar and Varghese, 1995) over the classes that have a request to place."""

from collections.abc import Mapping, Sequence
from math import gcd

from penstock.domain.principal import ServiceClass

_COUNT = len(ServiceClass)

Turn = tuple[int, int, int]
"""How far the round must go until the winner can pay for its first entry: whole rounds, then classes after the current one; the winner."""


class DeficitRoundRobin:
    """A class gets its quantum at each visit and keeps what it could not spend, as long as one of its requests waits.

    Rounds in which no class could pay are computed, not walked through, so quanta may be small: a class's turn is then about one entry,
    not a burst, and a decision costs the number of classes, independent of what the entries cost.
    """

    def __init__(self, weights: Mapping[ServiceClass, int]) -> None:
        self.deficits = [0] * _COUNT
        self._current = 0
        self.adopt(weights)

    def adopt(self, weights: Mapping[ServiceClass, int]) -> None:
        """From the next visit on; what was granted stays."""
        divisor = gcd(*weights.values())
        self._quanta = [weights[each] // divisor for each in ServiceClass]

    def choose(self, costs: Sequence[int]) -> Turn:
        """`costs`: by class, of the first entry that could be placed; 0 where there is none, not everywhere. Changes nothing."""
        current, deficits, quanta = self._current, self.deficits, self._quanta
        best_rounds = best_offset = winner = -1
        for each in range(_COUNT):
            cost = costs[each]
            if not cost:
                continue
            offset = each - current
            if offset < 0:
                offset += _COUNT
            missing = cost - deficits[each]
            rounds = -(-missing // quanta[each]) if missing > 0 else 0
            if offset and rounds:
                # Its grant of the current round is still to come; who is current has had it.
                rounds -= 1
            if winner < 0 or rounds < best_rounds or (rounds == best_rounds and offset < best_offset):
                best_rounds, best_offset, winner = rounds, offset, each
        return best_rounds, best_offset, winner

    def spend(self, turn: Turn, costs: Sequence[int]) -> None:
        """`choose` was followed: each class that was passed gets the quanta, the winner pays."""
        rounds, last, winner = turn
        current, deficits, quanta = self._current, self.deficits, self._quanta
        if rounds or last:
            for each in range(_COUNT):
                if costs[each]:
                    offset = each - current
                    if offset < 0:
                        offset += _COUNT
                    deficits[each] += (rounds + (0 < offset <= last)) * quanta[each]
        deficits[winner] -= costs[winner]
        self._current = winner

    def emptied(self, service_class: int) -> None:
        self.deficits[service_class] = 0
