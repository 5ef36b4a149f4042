"""Stored responses of the Responses API, as the store keeps them. Asynchronous; may raise PortUnavailable."""

from typing import Protocol

from penstock.domain.durable.responses import StoredResponse


class ResponseStore(Protocol):
    """Responses of another organisation are not found."""

    async def add(self, response: StoredResponse) -> None: ...

    async def get(self, org_id: str, response_id: str) -> StoredResponse | None: ...

    async def chain(self, org_id: str, response_id: str, limit: int, max_bytes: int) -> list[StoredResponse]:
        """It and those that it continues, the oldest first; the first has no `previous_id`, unless the chain is broken or longer.

        Raises TooLarge when their texts have more than `max_bytes`; no text is read beyond them.
        """
        ...

    async def finish(self, response: StoredResponse) -> bool:
        """Replace one that is not over yet; False, and nothing is written, when it is, or is gone."""
        ...

    async def remove(self, org_id: str, response_id: str) -> bool: ...

    async def unfinished(self, limit: int) -> list[StoredResponse]:
        """Of every organisation: those that a task makes and that are not over, oldest first."""
        ...

    async def forget_expired(self, now: float, limit: int) -> int:
        """Remove those that have expired; how many that were."""
        ...
