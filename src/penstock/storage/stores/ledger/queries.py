"""The usage ledger, as far as it is the same on every database: the sums by the hour, and reports.

`append` adds a batch to the hourly sums in the transaction that writes its records, so that a report need not read single records
but for the parts of an hour at its edges. How single records are kept differs (`RecordStorage`).
"""

from collections.abc import Sequence
from time import time
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Row, Select, Table, delete, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.domain.errors import BadRequest
from penstock.domain.ports import UsageQuery
from penstock.domain.usage import UsageRecord, UsageRow
from penstock.storage.stores.ledger import schema
from penstock.storage.stores.ledger.hours import Edge, Span, day_name, span
from penstock.storage.stores.ledger.rollup import HOUR_KEY, SUMS
from penstock.storage.stores.sql.database import Database

_GROUPS = {
    "org": "org_id",
    "key": "key_id",
    "model": "model",
    "tier": "service_tier",
    "class": "service_class",
    "day": "day",
    "currency": "currency",
}
KEPT_SECONDS = 7 * 86_400
"""How long the id of a batch is remembered: a gateway that dies between the commit and its note of it starts again within that time."""
_PRUNE_EVERY = 1000
_PRUNED_AT_ONCE = 5 * _PRUNE_EVERY


class RecordStorage(Protocol):
    """How one database keeps single records: in blocks (`blocks.py`) or as rows (`rows.py`)."""

    async def append(self, batch_id: str, records: Sequence[UsageRecord], now: float) -> bool:
        """In one transaction: note the batch (False when it is known), write its records, add them to the sums."""
        ...

    async def records(self, query: UsageQuery, after: str | None) -> list[UsageRecord]: ...

    async def record(self, request_id: str) -> UsageRecord | None: ...

    async def edges(self, connection: AsyncConnection, query: UsageQuery, edges: Sequence[Edge]) -> list[Select[Any]]:
        """The records in parts of an hour, as queries whose columns are those of the hourly sums."""
        ...


class SqlLedger:
    """Implements `UsageLedger`."""

    def __init__(self, database: Database, storage: RecordStorage) -> None:
        self._database = database
        self._storage = storage
        self._appended = 0

    async def append(self, batch_id: str, records: Sequence[UsageRecord]) -> bool:
        now = time()
        new = await self._storage.append(batch_id, records, now)
        if self._appended % _PRUNE_EVERY == 0:
            await self._prune(now - KEPT_SECONDS)
        self._appended += 1
        return new

    async def report(self, query: UsageQuery) -> list[UsageRow]:
        """Raises BadRequest for a grouping that there is not."""
        if unknown := set(query.group_by) - set(_GROUPS):
            raise BadRequest(f"Usage cannot be grouped by {', '.join(sorted(unknown))}.", param="group_by")
        wanted = span(query.since, query.until)
        async with self._database.read() as connection:
            edges = await self._storage.edges(connection, query, wanted.edges)
            rows = (await connection.execute(report_query(query, wanted, edges))).all()
        return [_usage_row(found) for found in rows if found.requests]

    async def records(self, query: UsageQuery, after: str | None = None) -> list[UsageRecord]:
        return await self._storage.records(query, after)

    async def record(self, request_id: str) -> UsageRecord | None:
        return await self._storage.record(request_id)

    async def _prune(self, before: float) -> None:
        table = schema.usage_append
        old = select(table.c.batch_id).where(table.c.appended_at < before).order_by(table.c.appended_at).limit(_PRUNED_AT_ONCE)
        async with self._database.write() as connection:
            # Rows that another gateway is forgetting are left to it.
            await connection.execute(delete(table).where(table.c.batch_id.in_(old.with_for_update(skip_locked=True))))


def report_query(query: UsageQuery, wanted: Span, edges: Sequence[Select[Any]]) -> Select[Any]:
    """One statement: whole hours from the sums, the parts of an hour at the edges beside them. Always by currency, too."""
    parts = union_all(_hours(query, wanted), *edges).subquery()
    day = (parts.c.hour // 24).label("day")
    groups = [day if name == "day" else parts.c[_GROUPS[name]] for name in dict.fromkeys((*query.group_by, "currency"))]
    sums = {name: func.coalesce(func.sum(parts.c[name]), 0).label(name) for name in SUMS}
    return (
        select(*groups, *sums.values())
        .group_by(*groups)
        .order_by(sums["cost_micros"].desc(), sums["requests"].desc(), *groups)
        .limit(query.limit)
    )


def filters(table: Table, query: UsageQuery) -> list[ColumnElement[bool]]:
    wanted = {
        "org_id": query.org_id,
        "key_id": query.key_id,
        "model": query.model,
        "service_tier": query.tier,
        "service_class": query.service_class,
    }
    return [table.c[name] == value for name, value in wanted.items() if value is not None]


def _hours(query: UsageQuery, wanted: Span) -> Select[Any]:
    table = schema.usage_hour
    selected = select(*(table.c[name] for name in (*HOUR_KEY, *SUMS))).where(*filters(table, query))
    if wanted.first_hour is not None:
        selected = selected.where(table.c.hour >= wanted.first_hour)
    if wanted.end_hour is not None:
        selected = selected.where(table.c.hour < wanted.end_hour)
    return selected


def _usage_row(found: Row[Any]) -> UsageRow:
    values = dict.fromkeys(_GROUPS.values(), "") | dict(found._mapping)
    if values["day"] != "":
        values["day"] = day_name(values["day"])
    values |= {name: int(values[name]) for name in SUMS}  # Postgres sums bigints to Decimal
    return UsageRow(**values)
