"""What was edited in the store. Asynchronous; may raise PortUnavailable."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Changes:
    """What was edited since a version: pairs of kind (organisation, plan, policy, key, model, worker, join_token) and id.

    The id `*` means every subject of that kind: the version was too old for the store to tell one by one.
    """

    version: int
    subjects: frozenset[tuple[str, str]]


class ChangeFeed(Protocol):
    """Tells each gateway what the others have edited."""

    async def since(self, version: int) -> Changes:
        """Cheap enough to ask a few times a second; versions rise in commit order and never skip a committed change."""
        ...
