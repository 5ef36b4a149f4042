"""How one of several workers is chosen (family). A member is a class made with a source of randomness."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Protocol

from penstock.base.family import Family
from penstock.serving.routing.member import Member
from penstock.serving.routing.prefix import NOTHING_CACHED


class BalancingPolicy(Protocol):
    """Remembers as little as it can: what it needs to know of workers and prompts it is shown."""

    @property
    def wants_prefix(self) -> bool:
        """Whether `cached` is looked up for it: that costs a few microseconds."""
        ...

    @property
    def measure(self) -> str:
        """What it compares, for people: `outstanding_tokens`, `in_flight`, `cached_tokens` or `turn`."""
        ...

    def choose(self, candidates: Sequence[Member], excluded: frozenset[str], cached: Mapping[str, int] = NOTHING_CACHED) -> Member | None:
        """A candidate below its limit that is not excluded, or None when there is none.

        `cached`: by worker id, the tokens from the start of this prompt that it has probably kept.
        """
        ...


class PolicyFactory(Protocol):
    """`MEMBER` of this family."""

    def __call__(self, random: Random, /) -> BalancingPolicy: ...


POLICIES: Family[PolicyFactory] = Family(__name__)


def usable(candidates: Sequence[Member], excluded: frozenset[str]) -> list[Member]:
    """Those that may get one more request."""
    return [member for member in candidates if member.in_flight < member.limit and member.id not in excluded]
