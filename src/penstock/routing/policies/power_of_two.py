"""Power of two choices on outstanding tokens (Mitzenmacher 2001): nearly as even as asking all, and steady with stale numbers."""

from collections.abc import Sequence
from random import Random

from penstock.routing.member import Member


class PowerOfTwo:
    def __init__(self, random: Random) -> None:
        self._random = random.random

    def choose(self, candidates: Sequence[Member], excluded: frozenset[str]) -> Member | None:
        count = len(candidates)
        if count == 0:
            return None
        if count == 1:
            one = candidates[0]
        else:
            first = int(self._random() * count)
            second = int(self._random() * (count - 1))
            one, other = candidates[first], candidates[second + (second >= first)]
            if other.free and (not one.free or other.outstanding_tokens < one.outstanding_tokens):
                one = other
        if one.in_flight < one.slots and one.id not in excluded:
            return one
        # Both were full or excluded: look at all before saying that nothing is free.
        usable = [member for member in candidates if member.free and member.id not in excluded]
        return min(usable, key=lambda member: member.outstanding_tokens, default=None)


MEMBER = PowerOfTwo
