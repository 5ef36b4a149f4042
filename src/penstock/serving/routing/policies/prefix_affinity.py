"""Where the start of the prompt is in a cache already, unless that worker has too much to do: consistent hashing's bounded loads applied
to what is known of the caches (KubeAI; SGLang's router for when to let go).

Two bounds keep a popular prefix from making a hot spot and cold workers from starving. A worker that would have more than c times the mean
of the requests is passed over; the one that takes its place then has the prefix too, so a hot prefix spreads over as many workers as it
needs. And when the fleet has become uneven as a whole, affinity rests until it is even again.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from random import Random

from penstock.serving.routing.member import Member
from penstock.serving.routing.policies import PolicyFactory, usable
from penstock.serving.routing.prefix import NOTHING_CACHED

_BOUND = 1.25
_GAP_REQUESTS = 64
_GAP_FACTOR = 1.5
_MUCH_BESIDE_AN_IDLE_ONE = 4
"""With so many requests a worker leaves the next one to a worker that has none: within the bound alone that one could stay cold."""


class PrefixAffinity:
    wants_prefix = True
    measure = "cached_tokens"

    def __init__(self, random: Random) -> None:
        self._random = random.random

    def choose(self, candidates: Sequence[Member], excluded: frozenset[str], cached: Mapping[str, int] = NOTHING_CACHED) -> Member | None:
        free = usable(candidates, excluded)
        if len(free) < 2:
            return free[0] if free else None
        total = sum(member.in_flight for member in candidates)
        bound = ceil(_BOUND * (total + 1) / len(candidates))
        # The worker with the fewest requests of all is within it, unless that one is full or excluded.
        within = [member for member in free if member.in_flight < bound] or free
        if cached and not _uneven(candidates):
            longest = max(cached.get(member.id, 0) for member in within)
            if longest:
                best = min((member for member in within if cached.get(member.id, 0) == longest), key=_tokens)
                idle = None if best.in_flight < _MUCH_BESIDE_AN_IDLE_ONE else next((each for each in within if not each.in_flight), None)
                return best if idle is None else idle
        return self._less_loaded(within)

    def _less_loaded(self, free: Sequence[Member]) -> Member:
        """Of two at random the one with fewer outstanding tokens."""
        count = len(free)
        if count == 1:
            return free[0]
        first = int(self._random() * count)
        second = int(self._random() * (count - 1))
        return min(free[first], free[second + (second >= first)], key=_tokens)


def _tokens(member: Member) -> int:
    return member.outstanding_tokens


def _uneven(candidates: Sequence[Member]) -> bool:
    numbers = [member.in_flight for member in candidates]
    most, least = max(numbers), min(numbers)
    return most - least > _GAP_REQUESTS and most > _GAP_FACTOR * least


MEMBER: PolicyFactory = PrefixAffinity
