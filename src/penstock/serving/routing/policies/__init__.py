"""How one of several workers is chosen (family). A member is a class made with a source of randomness."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from penstock.serving.routing.member import Member
from penstock.serving.routing.prefix import NOTHING_CACHED


class Policy(Protocol):
    """Remembers as little as it can: what it needs to know of workers and prompts it is shown."""

    wants_prefix: ClassVar[bool]
    """Whether `cached` is looked up for it: that costs a few microseconds."""
    measure: ClassVar[str]
    """What it compares, for people: `outstanding_tokens`, `in_flight`, `cached_tokens` or `turn`."""

    def choose(self, candidates: Sequence[Member], excluded: frozenset[str], cached: Mapping[str, int] = NOTHING_CACHED) -> Member | None:
        """A candidate below its limit that is not excluded, or None when there is none.

        `cached`: by worker id, the tokens from the start of this prompt that it has probably kept.
        """
        ...


def usable(candidates: Sequence[Member], excluded: frozenset[str]) -> list[Member]:
    """Those that may get one more request."""
    return [member for member in candidates if member.in_flight < member.limit and member.id not in excluded]
