"""Batches in SQL."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, Select, and_, insert, or_, select, update

from penstock.domain.durable.batches import Batch, BatchStatus, BatchUsage, LineFault
from penstock.domain.durable.files import FileRecord
from penstock.storage.stores.batches.schema import batch
from penstock.storage.stores.files.schema import stored_file
from penstock.storage.stores.sql.database import Database

_NOT_OURS = ("is_over", "claimed_by", "claimed_until")
"""Columns that are the store's own business."""


class SqlBatches:
    """Implements `BatchStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, new: Batch) -> None:
        async with self._database.write() as connection:
            await connection.execute(insert(batch).values(**_batch_values(new)))

    async def get(self, org_id: str, batch_id: str) -> Batch | None:
        row = await self._database.row(select(batch).where(batch.c.id == batch_id, batch.c.org_id == org_id))
        return None if row is None else _batch(row)

    async def page(self, org_id: str, limit: int, after: str | None = None) -> list[Batch]:
        asked: Select[Any] = select(batch).where(batch.c.org_id == org_id).order_by(batch.c.id.desc()).limit(limit)
        return [_batch(row) for row in await self._database.rows(asked if after is None else asked.where(batch.c.id < after))]

    async def change(self, changed: Batch, was: BatchStatus, files: Sequence[FileRecord] = ()) -> bool:
        async with self._database.write() as connection:
            statement = update(batch).where(batch.c.id == changed.id, batch.c.status == was).values(**_batch_values(changed))
            if (await connection.execute(statement)).rowcount < 1:
                return False
            for record in files:
                await connection.execute(insert(stored_file).values(**asdict(record)))
        return True

    async def claim(self, owner: str, now: float, until: float, limit: int) -> list[Batch]:
        table = batch.c
        free = and_(table.is_over.is_(False), or_(table.claimed_by == owner, table.claimed_until <= now))
        found = await self._database.rows(select(batch).where(free).order_by(table.id).limit(limit))
        late = (now + until) / 2
        if all(row.claimed_by == owner and row.claimed_until > late for row in found):
            return [_batch(row) for row in found]
        wanted = select(table.id).where(free).order_by(table.id).limit(limit)
        async with self._database.write() as connection:
            statement = update(batch).where(table.id.in_(wanted), free).values(claimed_by=owner, claimed_until=until).returning(batch)
            return sorted((_batch(row) for row in await connection.execute(statement)), key=lambda each: each.id)


def _batch_values(value: Batch) -> dict[str, Any]:
    return asdict(value) | {"is_over": value.status.is_terminal}


def _batch(row: Row[Any]) -> Batch:
    values = {name: value for name, value in row._mapping.items() if name not in _NOT_OURS}
    values["status"] = BatchStatus(values["status"])
    values["faults"] = tuple(LineFault(**fault) for fault in values["faults"])
    values["usage"] = None if values["usage"] is None else BatchUsage(**values["usage"])
    return Batch(**values)
