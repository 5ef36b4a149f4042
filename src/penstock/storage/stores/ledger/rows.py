"""Single usage records as rows: what PostgreSQL keeps of the ledger beside the sums."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict
from sqlalchemy import Row, Select, case, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.domain.ports import UsageQuery
from penstock.domain.usage import Outcome, UsageRecord
from penstock.storage.stores.ledger import schema
from penstock.storage.stores.ledger.hours import Edge
from penstock.storage.stores.ledger.queries import filters
from penstock.storage.stores.ledger.rollup import ADDED, HOUR_KEY, SUMS, Hours, by_place, sums
from penstock.storage.stores.sql.database import Database

COLUMNS = UsageRecord.__struct_fields__
_SLICE = 1000  # coded at one go on the event loop, which takes about two milliseconds

_TYPES = {"String": "text", "Text": "text", "BigInteger": "bigint", "Double": "double precision", "Boolean": "boolean"}
_ROW = ", ".join(f"{name} {_TYPES[type(schema.usage_record.c[name].type).__name__]}" for name in COLUMNS)
# As one JSON text: it costs the gateway 2 us a record; COPY, which is easier on the server, costs it 4, and rows of parameters 50.
_INSERT = (  # all of it names of our own columns
    f"INSERT INTO usage_record ({', '.join(COLUMNS)}) SELECT {', '.join(COLUMNS)} FROM json_to_recordset(%s::json) AS given({_ROW})"  # noqa: S608
)
# Of two that come at the same time, the second waits for the first.
_NOTE = "INSERT INTO usage_append (batch_id, appended_at) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_ADD_UP = (
    f"INSERT INTO usage_hour ({', '.join((*HOUR_KEY, *SUMS))}) VALUES ({', '.join(['%s'] * (len(HOUR_KEY) + len(SUMS)))}) "  # noqa: S608
    f"ON CONFLICT ({', '.join(HOUR_KEY)}) DO UPDATE SET {ADDED}"
)


class RowStorage:
    """Implements `RecordStorage`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, batch_id: str, records: Sequence[UsageRecord], now: float) -> bool:
        """One row for each record and the sums by hour, in one transaction; False when a batch of that id is there."""
        hours = Hours()
        texts = []
        for start in range(0, len(records), _SLICE):
            if start:
                await asyncio.sleep(0)  # others have their turn
            part = records[start : start + _SLICE]
            for place, group in by_place(part).items():
                hours.add(place, sums(group))
            texts.append(msgspec.json.encode([asdict(record) for record in part]).decode())
        async with self._database.write() as connection:
            if not (await connection.exec_driver_sql(_NOTE, (batch_id, now))).rowcount:
                return False
            for text in texts:
                await connection.exec_driver_sql(_INSERT, (text,))
            if rows := hours.rows():
                await connection.exec_driver_sql(_ADD_UP, rows)
        return True

    async def records(self, query: UsageQuery, after: str | None) -> list[UsageRecord]:
        return [_record(found) for found in await self._database.rows(records_query(query, after))]

    async def record(self, request_id: str) -> UsageRecord | None:
        found = await self._database.row(select(schema.usage_record).where(schema.usage_record.c.request_id == request_id).limit(1))
        return _record(found) if found else None

    async def edges(self, connection: AsyncConnection, query: UsageQuery, edges: Sequence[Edge]) -> list[Select[Any]]:
        return [edge_query(query, edge) for edge in edges]


def edge_query(query: UsageQuery, edge: Edge) -> Select[Any]:
    since, until, hour = edge
    table = schema.usage_record
    made = {"hour": literal(hour), "requests": literal(1), "estimated_requests": case((table.c.estimated, 1), else_=0)}
    columns = [made[name].label(name) if name in made else table.c[name] for name in (*HOUR_KEY, *SUMS)]
    return select(*columns).where(*filters(table, query), table.c.started_at >= since, table.c.started_at < until)


def records_query(query: UsageQuery, after: str | None) -> Select[Any]:
    table = schema.usage_record
    place = tuple_(table.c.started_at, table.c.request_id)
    selected = select(table).where(*filters(table, query)).order_by(table.c.started_at.desc(), table.c.request_id.desc())
    if query.since is not None:
        selected = selected.where(table.c.started_at >= query.since)
    if query.until is not None:
        selected = selected.where(table.c.started_at < query.until)
    if query.outcome is not None:
        selected = selected.where(table.c.outcome == query.outcome)
    if query.slower_than_seconds is not None:
        selected = selected.where(table.c.finished_at - table.c.started_at > query.slower_than_seconds)
    if query.client_request_id is not None:
        selected = selected.where(table.c.client_request_id == query.client_request_id, table.c.client_request_id != "")
    if after is not None:
        last = table.alias("last")
        found = select(last.c.started_at, last.c.request_id).where(last.c.request_id == after).limit(1)
        selected = selected.where(place < found.scalar_subquery())
    return selected.limit(query.limit)


def _record(found: Row[Any]) -> UsageRecord:
    values = dict(found._mapping)
    values["outcome"] = Outcome(values["outcome"])
    return UsageRecord(**values)
