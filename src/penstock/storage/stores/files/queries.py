"""Records of files in SQL."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, Select, delete, func, insert, select

from penstock.domain.durable.files import FileQuery, FileRecord, Purpose
from penstock.storage.stores.files.schema import stored_file
from penstock.storage.stores.sql.database import Database


class SqlFiles:
    """Implements `FileStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: FileRecord) -> None:
        async with self._database.write() as connection:
            await connection.execute(insert(stored_file).values(**asdict(record)))

    async def get(self, org_id: str, file_id: str) -> FileRecord | None:
        table = stored_file.c
        row = await self._database.row(select(stored_file).where(table.id == file_id, table.org_id == org_id))
        return None if row is None else _file(row)

    async def page(self, query: FileQuery) -> list[FileRecord]:
        table = stored_file.c
        asked: Select[Any] = select(stored_file).where(table.org_id == query.org_id).limit(query.limit)
        asked = asked.order_by(table.id.asc() if query.ascending else table.id.desc())
        if query.after is not None:
            asked = asked.where(table.id > query.after if query.ascending else table.id < query.after)
        if query.purpose is not None:
            asked = asked.where(table.purpose == query.purpose)
        return [_file(row) for row in await self._database.rows(asked)]

    async def stored_bytes(self, org_id: str) -> int:
        query = select(func.coalesce(func.sum(stored_file.c.size_bytes), 0)).where(stored_file.c.org_id == org_id)
        async with self._database.read() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def remove(self, org_id: str, file_id: str) -> bool:
        table = stored_file.c
        async with self._database.write() as connection:
            removed = await connection.execute(delete(stored_file).where(table.id == file_id, table.org_id == org_id))
            return removed.rowcount > 0

    async def expired(self, now: float, limit: int) -> list[FileRecord]:
        table = stored_file.c
        return [_file(row) for row in await self._database.rows(select(stored_file).where(table.expires_at <= now).limit(limit))]

    async def known(self, ids: Collection[str]) -> set[str]:
        found = await self._database.rows(select(stored_file.c.id).where(stored_file.c.id.in_(ids)))
        return {row.id for row in found}


def _file(row: Row[Any]) -> FileRecord:
    values = dict(row._mapping)
    values["purpose"] = Purpose(values["purpose"])
    return FileRecord(**values)
