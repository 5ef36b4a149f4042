"""OpenAI's batches, as the store keeps them. Asynchronous; may raise PortUnavailable."""

from collections.abc import Sequence
from typing import Protocol

from penstock.domain.durable.batches import Batch, BatchStatus
from penstock.domain.durable.files import FileRecord


class BatchStore(Protocol):
    """Every change is made from a status that the batch must still have, so that each happens once."""

    async def add(self, batch: Batch) -> None: ...

    async def get(self, org_id: str, batch_id: str) -> Batch | None: ...

    async def page(self, org_id: str, limit: int, after: str | None = None) -> list[Batch]:
        """Newest first."""
        ...

    async def change(self, batch: Batch, was: BatchStatus, files: Sequence[FileRecord] = ()) -> bool:
        """Replace it, and add its files, in one transaction; False, and nothing is written, when its status is not `was` any more."""
        ...

    async def claim(self, owner: str, now: float, until: float, limit: int) -> list[Batch]:
        """Of every organisation: those not over that no other gateway works on; they are the owner's for at least half of that."""
        ...
