"""The usage ledger: one row a request, and its sums by the hour.

`append` adds exactly the new rows to the hourly sums in the same transaction, so that a report need not read single rows but
for the parts of an hour at its edges.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, case, func, literal, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.domain.errors import BadRequest
from penstock.domain.ports import UsageQuery
from penstock.domain.usage import Outcome, UsageRecord, UsageRow
from penstock.stores import _schema as schema
from penstock.stores._connection import Connected
from penstock.stores._hours import Span, day_name, span
from penstock.stores._rollup import HOUR_KEY, SUMS

_GROUPS = {"org": "org_id", "key": "key_id", "model": "model", "tier": "service_tier", "class": "service_class", "day": "day"}


class SqlLedger(Connected):
    async def append(self, records: Sequence[UsageRecord]) -> int:
        first: dict[str, UsageRecord] = {}
        for record in records:
            first.setdefault(record.request_id, record)
        if not first:
            return 0
        async with self._write() as connection:
            return await self._add_records(connection, list(first.values()))

    async def report(self, query: UsageQuery) -> list[UsageRow]:
        """Raises BadRequest for a grouping that there is not."""
        if unknown := set(query.group_by) - set(_GROUPS):
            raise BadRequest(f"Usage cannot be grouped by {', '.join(sorted(unknown))}.", param="group_by")
        rows = await self._rows(report_query(query))
        return [_usage_row(found) for found in rows if found.requests]

    async def records(self, query: UsageQuery, after: str | None = None) -> list[UsageRecord]:
        return [_record(found) for found in await self._rows(records_query(query, after))]

    async def record(self, request_id: str) -> UsageRecord | None:
        found = await self._row(select(schema.usage_record).where(schema.usage_record.c.request_id == request_id))
        return _record(found) if found else None

    @abstractmethod
    async def _add_records(self, connection: AsyncConnection, records: list[UsageRecord]) -> int:
        """Insert the records (of different ids) that are not there yet and add exactly those to the sums; returns how many."""


def report_query(query: UsageQuery) -> Select[Any]:
    """One statement: whole hours from the sums, the parts of an hour at the edges from single records."""
    wanted = span(query.since, query.until)
    parts = union_all(_hours(query, wanted), *(_edge(query, *edge) for edge in wanted.edges)).subquery()
    day = (parts.c.hour // 24).label("day")
    groups = [day if name == "day" else parts.c[_GROUPS[name]] for name in dict.fromkeys(query.group_by)]
    sums = {name: func.coalesce(func.sum(parts.c[name]), 0).label(name) for name in SUMS}
    return (
        select(*groups, *sums.values())
        .group_by(*groups)
        .order_by(sums["cost_micros"].desc(), sums["requests"].desc(), *groups)
        .limit(query.limit)
    )


def records_query(query: UsageQuery, after: str | None) -> Select[Any]:
    table = schema.usage_record
    place = tuple_(table.c.started_at, table.c.request_id)
    selected = select(table).where(*_filters(table, query)).order_by(table.c.started_at.desc(), table.c.request_id.desc())
    if query.since is not None:
        selected = selected.where(table.c.started_at >= query.since)
    if query.until is not None:
        selected = selected.where(table.c.started_at < query.until)
    if after is not None:
        last = table.alias("last")
        selected = selected.where(place < select(last.c.started_at, last.c.request_id).where(last.c.request_id == after).scalar_subquery())
    return selected.limit(query.limit)


def _filters(table: Table, query: UsageQuery) -> list[ColumnElement[bool]]:
    wanted = {"org_id": query.org_id, "key_id": query.key_id, "model": query.model}
    return [table.c[name] == value for name, value in wanted.items() if value is not None]


def _hours(query: UsageQuery, wanted: Span) -> Select[Any]:
    table = schema.usage_hour
    selected = select(*(table.c[name] for name in (*HOUR_KEY, *SUMS))).where(*_filters(table, query))
    if wanted.first_hour is not None:
        selected = selected.where(table.c.hour >= wanted.first_hour)
    if wanted.end_hour is not None:
        selected = selected.where(table.c.hour < wanted.end_hour)
    return selected


def _edge(query: UsageQuery, since: float, until: float, hour: int) -> Select[Any]:
    table = schema.usage_record
    made = {"hour": literal(hour), "requests": literal(1), "estimated_requests": case((table.c.estimated, 1), else_=0)}
    columns = [made[name].label(name) if name in made else table.c[name] for name in (*HOUR_KEY, *SUMS)]
    return select(*columns).where(*_filters(table, query), table.c.started_at >= since, table.c.started_at < until)


def _record(found: Row[Any]) -> UsageRecord:
    values = dict(found._mapping)
    values["outcome"] = Outcome(values["outcome"])
    return UsageRecord(**values)


def _usage_row(found: Row[Any]) -> UsageRow:
    values = dict.fromkeys(_GROUPS.values(), "") | dict(found._mapping)
    if values["day"] != "":
        values["day"] = day_name(values["day"])
    values |= {name: int(values[name]) for name in SUMS}  # Postgres sums bigints to Decimal
    return UsageRow(**values)
