"""The worker with the fewest requests; their size does not count. A baseline: blind to one long prompt among many short ones."""

from collections.abc import Mapping, Sequence
from random import Random

from penstock.serving.routing.member import Member
from penstock.serving.routing.policies import PolicyFactory, usable
from penstock.serving.routing.prefix import NOTHING_CACHED


class LeastRequests:
    wants_prefix = False
    measure = "in_flight"

    def __init__(self, random: Random) -> None:
        self._random = random.random

    def choose(self, candidates: Sequence[Member], excluded: frozenset[str], cached: Mapping[str, int] = NOTHING_CACHED) -> Member | None:
        return min(usable(candidates, excluded), key=lambda member: (member.in_flight, self._random()), default=None)


MEMBER: PolicyFactory = LeastRequests
