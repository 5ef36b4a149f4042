"""Which class is next: deficit round robin (Shreedhar and Varghese, 1995) over the classes that have somebody to place."""

from collections.abc import Mapping
from math import gcd
from typing import NamedTuple

from penstock.domain.principal import ServiceClass

_COUNT = len(ServiceClass)


class Turn(NamedTuple):
    """How far the round must go until `winner` can pay for its first entry."""

    rounds: int
    offset: int
    """Classes after the current one."""
    winner: ServiceClass


class Turns:
    """A class gets its quantum at each visit and keeps what it could not spend, as long as somebody of it waits.

    Rounds in which nobody could pay are not walked through but reckoned, so quanta may be small: a class's turn is then about one entry,
    not a burst, and a decision costs the number of classes whatever the entries cost.
    """

    def __init__(self, weights: Mapping[ServiceClass, int]) -> None:
        divisor = gcd(*weights.values())
        self._quanta = [weights[each] // divisor for each in ServiceClass]
        self.deficits = [0] * _COUNT
        self._current = 0

    def choose(self, costs: Mapping[ServiceClass, int]) -> Turn:
        """`costs`: of the first entry of each class that has one to place; not empty. Changes nothing."""
        return min(self._turn(each, cost) for each, cost in costs.items())

    def _turn(self, service_class: ServiceClass, cost: int) -> Turn:
        offset = (service_class - self._current) % _COUNT
        grants = max(0, -((self.deficits[service_class] - cost) // self._quanta[service_class]))
        if offset == 0:
            # It has had the grant of the visit that goes on.
            return Turn(grants, 0, service_class)
        return Turn(max(grants, 1) - 1, offset, service_class)

    def spend(self, turn: Turn, costs: Mapping[ServiceClass, int]) -> None:
        """`choose` was followed: everybody who was passed gets the quanta, the winner pays."""
        for each in costs:
            offset = (each - self._current) % _COUNT
            self.deficits[each] += (turn.rounds + (0 < offset <= turn.offset)) * self._quanta[each]
        self.deficits[turn.winner] -= costs[turn.winner]
        self._current = turn.winner

    def emptied(self, service_class: ServiceClass) -> None:
        self.deficits[service_class] = 0
