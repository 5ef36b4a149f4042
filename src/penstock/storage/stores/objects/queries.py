"""Files, batches and kept answers in SQL."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, Select, and_, delete, func, insert, literal, or_, select, update

from penstock.domain.durable.batches import Batch, BatchStatus, BatchUsage, LineFault
from penstock.domain.durable.files import FileQuery, FileRecord, Purpose
from penstock.domain.durable.responses import ResponseStatus, StoredResponse
from penstock.storage.stores.objects.schema import batch, response, stored_file
from penstock.storage.stores.sql.changes import SqlChanges

_NOT_OURS = ("is_over", "claimed_by", "claimed_until")
"""Columns that are the store's own business."""


class SqlFiles(SqlChanges):
    async def add_file(self, record: FileRecord) -> None:
        async with self._write() as connection:
            await connection.execute(insert(stored_file).values(**asdict(record)))

    async def file(self, org_id: str, file_id: str) -> FileRecord | None:
        table = stored_file.c
        row = await self._row(select(stored_file).where(table.id == file_id, table.org_id == org_id))
        return None if row is None else _file(row)

    async def files(self, query: FileQuery) -> list[FileRecord]:
        table = stored_file.c
        asked: Select[Any] = select(stored_file).where(table.org_id == query.org_id).limit(query.limit)
        asked = asked.order_by(table.id.asc() if query.ascending else table.id.desc())
        if query.after is not None:
            asked = asked.where(table.id > query.after if query.ascending else table.id < query.after)
        if query.purpose is not None:
            asked = asked.where(table.purpose == query.purpose)
        return [_file(row) for row in await self._rows(asked)]

    async def stored_bytes(self, org_id: str) -> int:
        query = select(func.coalesce(func.sum(stored_file.c.size_bytes), 0)).where(stored_file.c.org_id == org_id)
        async with self._read() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def remove_file(self, org_id: str, file_id: str) -> bool:
        table = stored_file.c
        async with self._write() as connection:
            removed = await connection.execute(delete(stored_file).where(table.id == file_id, table.org_id == org_id))
            return removed.rowcount > 0

    async def expired_files(self, now: float, limit: int) -> list[FileRecord]:
        table = stored_file.c
        return [_file(row) for row in await self._rows(select(stored_file).where(table.expires_at <= now).limit(limit))]

    async def known_files(self, ids: Collection[str]) -> set[str]:
        found = await self._rows(select(stored_file.c.id).where(stored_file.c.id.in_(ids)))
        return {row.id for row in found}


class SqlBatches(SqlChanges):
    async def add_batch(self, new: Batch) -> None:
        async with self._write() as connection:
            await connection.execute(insert(batch).values(**_batch_values(new)))

    async def batch(self, org_id: str, batch_id: str) -> Batch | None:
        row = await self._row(select(batch).where(batch.c.id == batch_id, batch.c.org_id == org_id))
        return None if row is None else _batch(row)

    async def batches(self, org_id: str, limit: int, after: str | None = None) -> list[Batch]:
        asked: Select[Any] = select(batch).where(batch.c.org_id == org_id).order_by(batch.c.id.desc()).limit(limit)
        return [_batch(row) for row in await self._rows(asked if after is None else asked.where(batch.c.id < after))]

    async def change_batch(self, changed: Batch, was: BatchStatus, files: Sequence[FileRecord] = ()) -> bool:
        async with self._write() as connection:
            statement = update(batch).where(batch.c.id == changed.id, batch.c.status == was).values(**_batch_values(changed))
            if (await connection.execute(statement)).rowcount < 1:
                return False
            for record in files:
                await connection.execute(insert(stored_file).values(**asdict(record)))
        return True

    async def claim_batches(self, owner: str, now: float, until: float, limit: int) -> list[Batch]:
        table = batch.c
        free = and_(table.is_over.is_(False), or_(table.claimed_by == owner, table.claimed_until <= now))
        found = await self._rows(select(batch).where(free).order_by(table.id).limit(limit))
        late = (now + until) / 2
        if all(row.claimed_by == owner and row.claimed_until > late for row in found):
            return [_batch(row) for row in found]
        wanted = select(table.id).where(free).order_by(table.id).limit(limit)
        async with self._write() as connection:
            statement = update(batch).where(table.id.in_(wanted), free).values(claimed_by=owner, claimed_until=until).returning(batch)
            return sorted((_batch(row) for row in await connection.execute(statement)), key=lambda each: each.id)


class SqlResponses(SqlChanges):
    async def add_response(self, new: StoredResponse) -> None:
        async with self._write() as connection:
            await connection.execute(insert(response).values(**_response_values(new)))

    async def response(self, org_id: str, response_id: str) -> StoredResponse | None:
        row = await self._row(select(response).where(response.c.id == response_id, response.c.org_id == org_id))
        return None if row is None else _response(row)

    async def response_chain(self, org_id: str, response_id: str, limit: int) -> list[StoredResponse]:
        table = response.c
        newest = select(table.id, table.previous_id, literal(0).label("depth")).where(table.id == response_id, table.org_id == org_id)
        links = newest.cte("links", recursive=True)
        older = select(table.id, table.previous_id, links.c.depth + 1).where(
            table.id == links.c.previous_id, table.org_id == org_id, links.c.depth < limit - 1
        )
        links = links.union_all(older)
        query = select(response).join(links, links.c.id == table.id).order_by(links.c.depth.desc())
        return [_response(row) for row in await self._rows(query)]

    async def finish_response(self, finished: StoredResponse) -> bool:
        async with self._write() as connection:
            open_one = and_(response.c.id == finished.id, response.c.is_over.is_(False))
            return (await connection.execute(update(response).where(open_one).values(**_response_values(finished)))).rowcount > 0

    async def remove_response(self, org_id: str, response_id: str) -> bool:
        async with self._write() as connection:
            own = and_(response.c.id == response_id, response.c.org_id == org_id)
            return (await connection.execute(delete(response).where(own))).rowcount > 0

    async def unfinished_responses(self, limit: int) -> list[StoredResponse]:
        query = select(response).where(response.c.is_over.is_(False)).order_by(response.c.id).limit(limit)
        return [_response(row) for row in await self._rows(query)]

    async def forget_responses(self, now: float, limit: int) -> int:
        old = select(response.c.id).where(response.c.expires_at <= now).limit(limit)
        async with self._write() as connection:
            return (await connection.execute(delete(response).where(response.c.id.in_(old)))).rowcount


class SqlObjects(SqlFiles, SqlBatches, SqlResponses):
    """All of it."""


def _file(row: Row[Any]) -> FileRecord:
    values = dict(row._mapping)
    values["purpose"] = Purpose(values["purpose"])
    return FileRecord(**values)


def _batch_values(value: Batch) -> dict[str, Any]:
    return asdict(value) | {"is_over": value.status.over}


def _batch(row: Row[Any]) -> Batch:
    values = {name: value for name, value in row._mapping.items() if name not in _NOT_OURS}
    values["status"] = BatchStatus(values["status"])
    values["faults"] = tuple(LineFault(**fault) for fault in values["faults"])
    values["usage"] = None if values["usage"] is None else BatchUsage(**values["usage"])
    return Batch(**values)


def _response_values(value: StoredResponse) -> dict[str, Any]:
    return asdict(value) | {"is_over": value.status.over}


def _response(row: Row[Any]) -> StoredResponse:
    values = {name: value for name, value in row._mapping.items() if name not in _NOT_OURS}
    values["status"] = ResponseStatus(values["status"])
    return StoredResponse(**values)
