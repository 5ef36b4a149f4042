"""The worker with the fewest tokens left to do, of all: exact while the counts are fresh; every gateway flocks to it when they are not."""

from collections.abc import Mapping, Sequence
from random import Random

from penstock.serving.routing.member import Member
from penstock.serving.routing.policies import PolicyFactory, usable
from penstock.serving.routing.prefix import NOTHING_CACHED


class LeastOutstandingTokens:
    wants_prefix = False
    measure = "outstanding_tokens"

    def __init__(self, random: Random) -> None:
        self._random = random.random

    def choose(self, candidates: Sequence[Member], excluded: frozenset[str], cached: Mapping[str, int] = NOTHING_CACHED) -> Member | None:
        # Chance settles ties, so that the first of the list is not the warmest for ever.
        return min(usable(candidates, excluded), key=lambda member: (member.outstanding_tokens, self._random()), default=None)


MEMBER: PolicyFactory = LeastOutstandingTokens
