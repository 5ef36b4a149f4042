"""Each in turn, however much it has to do. A baseline to compare the others with."""

from collections.abc import Mapping, Sequence
from random import Random

from penstock.serving.routing.member import Member
from penstock.serving.routing.policies import PolicyFactory
from penstock.serving.routing.prefix import NOTHING_CACHED


class RoundRobin:
    wants_prefix = False
    measure = "turn"

    def __init__(self, random: Random) -> None:
        self._next = 0

    def choose(self, candidates: Sequence[Member], excluded: frozenset[str], cached: Mapping[str, int] = NOTHING_CACHED) -> Member | None:
        count = len(candidates)
        for step in range(count):
            member = candidates[(self._next + step) % count]
            if member.in_flight < member.limit and member.id not in excluded:
                self._next = (self._next + step + 1) % count
                return member
        return None


MEMBER: PolicyFactory = RoundRobin
