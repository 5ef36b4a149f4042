"""Power of two choices on outstanding tokens (Mitzenmacher 2001): nearly as even as asking all, and steady with stale numbers."""

from collections.abc import Mapping, Sequence
from random import Random

from penstock.serving.routing.member import Member
from penstock.serving.routing.policies import PolicyFactory, usable
from penstock.serving.routing.prefix import NOTHING_CACHED


class PowerOfTwo:
    wants_prefix = False
    measure = "outstanding_tokens"

    def __init__(self, random: Random) -> None:
        self._random = random.random

    def choose(self, candidates: Sequence[Member], excluded: frozenset[str], cached: Mapping[str, int] = NOTHING_CACHED) -> Member | None:
        count = len(candidates)
        if count == 0:
            return None
        if count == 1:
            one = candidates[0]
        else:
            first = int(self._random() * count)
            second = int(self._random() * (count - 1))
            one, other = candidates[first], candidates[second + (second >= first)]
            if other.in_flight < other.limit and (one.in_flight >= one.limit or other.outstanding_tokens < one.outstanding_tokens):
                one = other
        if one.in_flight < one.limit and one.id not in excluded:
            return one
        # Both were full or excluded: look at all before saying that nothing is free.
        return min(usable(candidates, excluded), key=lambda member: member.outstanding_tokens, default=None)


MEMBER: PolicyFactory = PowerOfTwo
