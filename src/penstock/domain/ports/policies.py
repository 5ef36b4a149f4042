"""The policy with its versions, as the store keeps it."""

from typing import Protocol

from penstock.domain.policy import PolicyVersion


class PolicyStore(Protocol):
    """Versions count up from 1 and are never changed. May raise PortUnavailable."""

    async def get(self, version: int | None = None) -> PolicyVersion | None:
        """The newest one, or the one of that number; None: there is none."""
        ...

    async def page(self, limit: int, before: int | None = None) -> list[PolicyVersion]:
        """Newest first; `before`: only older ones."""
        ...

    async def save(self, new: PolicyVersion) -> bool:
        """Write it as the newest, with its plans, which then are all there are; False, and nothing is written, when
        `new.version` is not the next one: another edit was faster.

        Raises Conflict when an organisation is on a plan that would go.
        """
        ...
