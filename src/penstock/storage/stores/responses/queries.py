"""Stored responses in SQL."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, and_, case, delete, insert, literal, select, update

from penstock.domain.durable.responses import ResponseStatus, StoredResponse, conversation_too_large
from penstock.storage.stores.responses.schema import response
from penstock.storage.stores.sql.database import Database
from penstock.storage.stores.sql.text_bytes import TextBytes

_TEXTS = ("document", "items")


class SqlResponses:
    """Implements `ResponseStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, new: StoredResponse) -> None:
        async with self._database.write() as connection:
            await connection.execute(insert(response).values(**_response_values(new)))

    async def get(self, org_id: str, response_id: str) -> StoredResponse | None:
        row = await self._database.row(select(response).where(response.c.id == response_id, response.c.org_id == org_id))
        return None if row is None else _response(row)

    async def chain(self, org_id: str, response_id: str, limit: int, max_bytes: int) -> list[StoredResponse]:
        table = response.c
        texts = [table[name] for name in _TEXTS]
        size = TextBytes(texts[0]) + TextBytes(texts[1])
        newest = select(table.id, table.previous_id, literal(0).label("depth"), size.label("size"))
        links = newest.where(table.id == response_id, table.org_id == org_id).cte("links", recursive=True)
        older = select(table.id, table.previous_id, links.c.depth + 1, links.c.size + size).where(
            table.id == links.c.previous_id, table.org_id == org_id, links.c.depth < limit - 1, links.c.size <= max_bytes
        )
        links = links.union_all(older)
        # The link at which it becomes too much is the last one: of it only the size is read.
        fitting = [case((links.c.size <= max_bytes, text), else_="").label(text.name) for text in texts]
        others = [column for column in table if column.name not in _TEXTS]
        query = select(*others, *fitting, links.c.size.label("size")).join(links, links.c.id == table.id)
        rows = await self._database.rows(query.order_by(links.c.depth.desc()))
        if rows and rows[0].size > max_bytes:
            raise conversation_too_large(max_bytes, ", with their instructions and tools")
        return [_response(row) for row in rows]

    async def finish(self, finished: StoredResponse) -> bool:
        async with self._database.write() as connection:
            open_one = and_(response.c.id == finished.id, response.c.is_over.is_(False))
            return (await connection.execute(update(response).where(open_one).values(**_response_values(finished)))).rowcount > 0

    async def remove(self, org_id: str, response_id: str) -> bool:
        async with self._database.write() as connection:
            own = and_(response.c.id == response_id, response.c.org_id == org_id)
            return (await connection.execute(delete(response).where(own))).rowcount > 0

    async def unfinished(self, limit: int) -> list[StoredResponse]:
        query = select(response).where(response.c.is_over.is_(False)).order_by(response.c.id).limit(limit)
        return [_response(row) for row in await self._database.rows(query)]

    async def forget_expired(self, now: float, limit: int) -> int:
        old = select(response.c.id).where(response.c.expires_at <= now).limit(limit)
        async with self._database.write() as connection:
            return (await connection.execute(delete(response).where(response.c.id.in_(old)))).rowcount


def _response_values(value: StoredResponse) -> dict[str, Any]:
    return asdict(value) | {"is_over": value.status.is_terminal}


def _response(row: Row[Any]) -> StoredResponse:
    values = {name: value for name, value in row._mapping.items() if name not in ("is_over", "size")}
    values["status"] = ResponseStatus(values["status"])
    return StoredResponse(**values)
