"""The rules of batches as their owners see them: made, shown, cancelled. `processor.py` runs them."""

from collections.abc import Mapping
from dataclasses import replace

from penstock.domain.clock import Clock
from penstock.domain.durable.batches import LEGAL_MOVES, WINDOW_SECONDS, Batch, BatchStatus
from penstock.domain.durable.files import Purpose
from penstock.domain.errors import BadRequest, Conflict, NotFound
from penstock.domain.ids import TaskIds
from penstock.domain.inference import OPERATION_PATHS
from penstock.domain.ports import BatchStore, Files
from penstock.domain.principal import Principal, stored_id

ENDPOINTS = tuple(OPERATION_PATHS.values())


def dag_id(batch: Batch) -> str:
    """What the tasks of a batch have in common: an id of the same numbers."""
    return f"task_{batch.id.removeprefix('batch_')}"


class BatchService:
    """Every method may raise PortUnavailable. Batches of another organisation are batches that there are not."""

    def __init__(self, store: BatchStore, files: Files, clock: Clock) -> None:
        self._store = store
        self._files = files
        self._clock = clock
        self._ids = TaskIds()

    async def create(
        self, caller: Principal, input_file_id: str, endpoint: str, metadata: Mapping[str, str], output_expires_seconds: float | None
    ) -> Batch:
        """Raises NotFound (no such file), BadRequest (it is not for a batch)."""
        try:
            file = await self._files.file(caller.org_id, input_file_id)
        except NotFound:
            raise NotFound(f"No such File object: {input_file_id}", param="input_file_id") from None
        if file.purpose is not Purpose.BATCH:
            raise BadRequest("The file was not uploaded with the purpose 'batch'.", param="input_file_id")
        for last_try in (False, True):
            batch = self._new(caller, input_file_id, endpoint, metadata, output_expires_seconds)
            try:
                await self._store.add(batch)
                break
            except Conflict:
                if last_try:
                    raise
                self._ids = TaskIds()  # another process drew the same bits
        return batch

    def _new(
        self, caller: Principal, input_file_id: str, endpoint: str, metadata: Mapping[str, str], output_expires_seconds: float | None
    ) -> Batch:
        now = self._clock.time()
        return Batch(
            id=self._ids.next(now).replace("task_", "batch_", 1),
            org_id=caller.org_id,
            key_id=stored_id(caller.actor),
            endpoint=endpoint,
            input_file_id=input_file_id,
            status=BatchStatus.VALIDATING,
            created_at=now,
            expires_at=now + WINDOW_SECONDS,
            metadata=dict(metadata),
            output_expires_seconds=output_expires_seconds,
        )

    async def batch(self, org_id: str, batch_id: str) -> Batch:
        """Raises NotFound."""
        found = await self._store.get(org_id, batch_id)
        if found is None:
            raise NotFound(f"No such Batch object: {batch_id}", param="batch_id")
        return found

    async def batches(self, org_id: str, limit: int, after: str | None) -> list[Batch]:
        return await self._store.page(org_id, limit, after)

    async def cancel(self, org_id: str, batch_id: str) -> Batch:
        """It is cancelled when what runs has stopped and its files are written. Raises NotFound, Conflict when it is over."""
        while True:
            found = await self.batch(org_id, batch_id)
            if found.status is BatchStatus.CANCELLING:
                return found
            if BatchStatus.CANCELLING not in LEGAL_MOVES[found.status]:
                raise Conflict(f"A batch with the status '{found.status}' cannot be cancelled.", param="batch_id", retry=False)
            cancelling = replace(found, status=BatchStatus.CANCELLING, cancelling_at=self._clock.time())
            if await self._store.change(cancelling, found.status):
                return cancelling
