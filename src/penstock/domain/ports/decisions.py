"""Why requests went where they went: what this gateway remembers, and what of it is kept for longer."""

from collections.abc import Sequence
from typing import Protocol

from penstock.domain.decisions import Explanation


class DecisionStore(Protocol):
    """A sample of decisions, kept for some days."""

    async def save(self, decisions: Sequence[Explanation]) -> None:
        """One that is there already is left as it is."""
        ...

    async def get(self, request_id: str) -> Explanation | None: ...

    async def latest(self, org_id: str | None, limit: int) -> list[Explanation]:
        """Newest first; None: of every organisation."""
        ...

    async def forget(self, before: float) -> int:
        """Removes those that began before (Unix seconds), some thousands at most; returns how many."""
        ...


class RecentDecisions(Protocol):
    """The latest decisions of this gateway, from memory."""

    def find(self, request_id: str) -> Explanation | None: ...

    def latest(self, org_id: str | None, count: int) -> list[Explanation]:
        """Newest first; None: of every organisation."""
        ...
