"""How one of several workers is chosen (family). A member is a class made with a source of randomness, with one method `choose`."""

from collections.abc import Sequence
from typing import Protocol

from penstock.routing.member import Member


class Policy(Protocol):
    def choose(self, candidates: Sequence[Member], excluded: frozenset[str]) -> Member | None:
        """A candidate with a free slot that is not excluded, or None when there is none."""
        ...
