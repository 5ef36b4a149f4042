"""Single usage records in blocks: what SQLite keeps of the ledger beside the sums.

A row with its index entries costs the gateway's processor a third of all that it does for a request; a block costs as much as a few
rows and holds up to a thousand records. All records of a block are of one organisation and began in one hour. So no one
reads another's records for a page of their own, and a block that ends after some time reaches back no further than its hour, which
bounds what has to be looked at. A block's own sums lie beside its records, for the parts of an hour at the edges of a report.
"""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, CompoundSelect, Select, func, select
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.domain.models import Price
from penstock.domain.ports import UsageQuery
from penstock.domain.usage import UsageRecord
from penstock.storage.stores.catalog import schema as catalog
from penstock.storage.stores.ledger import schema
from penstock.storage.stores.ledger.hours import Edge
from penstock.storage.stores.ledger.rollup import ADDED, HOUR_KEY, HOUR_SECONDS, SUMS, Group, Hours, by_place, hour, sums
from penstock.storage.stores.sql.database import Database

MOST_RECORDS = 1000
"""In a block; coded at one go on the event loop, which takes about a millisecond."""
_BLOCKS_AT_ONCE = 4
"""Read at one go, for the same reason."""
_SUMS_AT_ONCE = 64
_ROWS_AT_ONCE = (16, 8, 4, 2, 1)
"""In one statement. SQLite keeps what a statement was given last for as long as the statement is kept: let there be few of them."""

_COLUMNS = ("org_id", "first_started_at", "last_started_at", "first_request_id", "last_request_id", "sums", "records")
_NOTE = "INSERT INTO usage_append (batch_id, appended_at) VALUES (?, ?) ON CONFLICT DO NOTHING"
_INSERT = f"INSERT INTO usage_block ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608 - only names of our own columns
_ROW = f"({', '.join('?' * len(_COLUMNS))})"
_FIELDS = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(HOUR_KEY) + len(SUMS)))
_ADD_UP = (  # all of it names of our own columns; SQLite would take ON for the one of a join, if there were no WHERE
    f"INSERT INTO usage_hour ({', '.join((*HOUR_KEY, *SUMS))}) SELECT {_FIELDS} FROM json_each(?) WHERE true "  # noqa: S608
    f"ON CONFLICT ({', '.join(HOUR_KEY)}) DO UPDATE SET {ADDED}"
)

Line = tuple[Group, list[int]]
StoredLine = tuple[tuple[str, ...], list[int]]
"""Of earlier versions without a currency."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[UsageRecord]).decode
_decode_lines = msgspec.msgpack.Decoder(list[StoredLine]).decode
_block = schema.usage_block.c
_CURRENCY_AT, _MODEL_AT = HOUR_KEY.index("currency"), HOUR_KEY.index("model")
_CURRENCY = Price().currency


class BlockStorage:
    """Implements `RecordStorage`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def records(self, query: UsageQuery, after: str | None) -> list[UsageRecord]:
        """Blocks from the newest on, until none of those left can hold a record of the page."""
        end = None
        if after is not None:
            last = await self.record(after)
            if last is None:
                return []
            end = _place(last)
        page: list[UsageRecord] = []
        async with self._database.read() as connection, connection.stream(blocks_query(query, end)) as blocks:
            async for block in blocks:
                if query.limit <= len(page) and (not page or block.last_started_at < page[-1].started_at):
                    break
                if any(_asked(group, query) for group, _ in _decode_sums(block.sums)):
                    page += [record for record in _decode(block.records) if _fits(record, query, end)]
                    page = sorted(page, key=_place, reverse=True)[: query.limit]
        return page

    async def record(self, request_id: str) -> UsageRecord | None:
        async with self._database.read() as connection, connection.stream(holders_query(request_id)) as blocks:
            async for block in blocks:
                for record in _decode(block.records):
                    if record.request_id == request_id:
                        return record
        return None

    async def append(self, batch_id: str, records: Sequence[UsageRecord], now: float) -> bool:
        hours = Hours()
        blocks: list[tuple[Any, ...]] = []
        for start in range(0, len(records), MOST_RECORDS):
            if start:
                await asyncio.sleep(0)  # others have their turn
            for place, group in by_place(records[start : start + MOST_RECORDS]).items():
                added = sums(group)
                hours.add(place, added)
                blocks.append(_values(place[0], group, list(added.items())))
        return await self._database.transact(lambda cursor: _write(cursor, batch_id, now, blocks, hours))

    async def edges(self, connection: AsyncConnection, query: UsageQuery, edges: Sequence[Edge]) -> list[Select[Any]]:
        hours = Hours()
        for edge in edges:
            async with connection.stream(whole_query(query, edge)) as blocks:
                async for block in blocks:
                    _add(hours, block.org_id, edge, query, _decode_sums(block.sums))
            async with connection.stream(cut_query(query, edge)) as blocks:
                async for block in blocks:
                    inside = [record for record in _decode(block.records) if edge[0] <= record.started_at < edge[1]]
                    _add(hours, block.org_id, edge, query, sums(inside).items())
        return [_table(await _with_currencies(connection, hours.rows()))] if edges else []


def blocks_query(query: UsageQuery, end: tuple[float, str] | None) -> Select[Any]:
    """The blocks that can hold the page before `end`, the newest first."""
    selected = select(_block.last_started_at, _block.sums, _block.records).where(*_of(query)).order_by(_block.last_started_at.desc())
    if query.since is not None:
        selected = selected.where(_block.last_started_at >= query.since)
    for time in (query.until, end[0] if end else None):
        if time is not None:
            selected = selected.where(_block.first_started_at <= time, _block.last_started_at < (hour(time) + 1.0) * HOUR_SECONDS)
    return selected.execution_options(max_row_buffer=_BLOCKS_AT_ONCE)


def holders_query(request_id: str) -> Select[Any]:
    """The blocks that can hold a request. Its id begins with its time, as a rule: the first block is nearly always the one."""
    held = select(_block.records).where(_block.last_request_id >= request_id, _block.first_request_id <= request_id)
    return held.order_by(_block.last_request_id).execution_options(max_row_buffer=_BLOCKS_AT_ONCE)


def whole_query(query: UsageQuery, edge: Edge) -> Select[Any]:
    """The sums of the blocks that lie inside a part of an hour."""
    since, until, _ = edge
    selected = select(_block.org_id, _block.sums).where(*_of(query), _block.first_started_at >= since, *_ends(since, until))
    return selected.execution_options(max_row_buffer=_SUMS_AT_ONCE)


def cut_query(query: UsageQuery, edge: Edge) -> CompoundSelect[Any]:
    """The records of the blocks that lie across a border of a part of an hour."""
    since, until, number = edge
    selected = select(_block.org_id, _block.records).where(*_of(query), _block.first_started_at < until)
    begins_before = selected.where(*_ends(since, until), _block.first_started_at < since)
    ends_after = selected.where(*_ends(until, (number + 1.0) * HOUR_SECONDS))
    return begins_before.union_all(ends_after).execution_options(max_row_buffer=_BLOCKS_AT_ONCE)


def _ends(since: float, until: float) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _block.last_started_at >= since, _block.last_started_at < until


def _of(query: UsageQuery) -> list[ColumnElement[bool]]:
    return [] if query.org_id is None else [_block.org_id == query.org_id]


def _values(org_id: str, records: list[UsageRecord], lines: list[Line]) -> tuple[Any, ...]:
    """In the order of `_COLUMNS`."""
    starts = [record.started_at for record in records]
    ids = [record.request_id for record in records]
    return org_id, min(starts), max(starts), min(ids), max(ids), _encode(lines), _encode(records)


def _write(cursor: DBAPICursor, batch_id: str, now: float, blocks: list[tuple[Any, ...]], hours: Hours) -> bool:
    """In few statements: at each, the thread that it runs on and the event loop's take turns."""
    cursor.execute(_NOTE, (batch_id, now))
    if not cursor.rowcount:
        return False
    written = 0
    for rows in _ROWS_AT_ONCE:
        while len(blocks) - written >= rows:
            part = blocks[written : written + rows]
            cursor.execute(_INSERT + ", ".join([_ROW] * rows), tuple(chain.from_iterable(part)))
            written += rows
    cursor.execute(_ADD_UP, (_json(hours.rows()),))
    return True


def _place(record: UsageRecord) -> tuple[float, str]:
    return record.started_at, record.request_id


def _asked(group: Group, query: UsageQuery) -> bool:
    key_id, model, tier, service_class, _ = group
    return (
        query.key_id in (None, key_id)
        and query.model in (None, model)
        and query.tier in (None, tier)
        and query.service_class in (None, service_class)
    )


def _decode_sums(content: bytes) -> list[Line]:
    return [((*group[:4], group[4] if len(group) > 4 else ""), line) for group, line in _decode_lines(content)]  # type: ignore[misc] # five texts


def _fits(record: UsageRecord, query: UsageQuery, end: tuple[float, str] | None) -> bool:
    return (
        query.key_id in (None, record.key_id)
        and query.model in (None, record.model)
        and query.tier in (None, record.service_tier)
        and query.service_class in (None, record.service_class)
        and query.outcome in (None, record.outcome)
        and query.client_request_id in (None, record.client_request_id)
        and (query.slower_than_seconds is None or record.finished_at - record.started_at > query.slower_than_seconds)
        and (query.since is None or record.started_at >= query.since)
        and (query.until is None or record.started_at < query.until)
        and (end is None or _place(record) < end)
    )


def _add(hours: Hours, org_id: str, edge: Edge, query: UsageQuery, lines: Iterable[Line]) -> None:
    hours.add((org_id, edge[2]), {group: line for group, line in lines if _asked(group, query)})


async def _with_currencies(connection: AsyncConnection, rows: list[tuple[str | int, ...]]) -> list[tuple[str | int, ...]]:
    """Records of earlier versions are in the currency that their model has now, as in the migration of the sums by the hour."""
    if all(row[_CURRENCY_AT] for row in rows):
        return rows
    found = await connection.execute(select(catalog.model.c.id, catalog.model.c.currency))
    known = {row.id: row.currency for row in found}
    return [
        row if row[_CURRENCY_AT] else (*row[:_CURRENCY_AT], known.get(row[_MODEL_AT], _CURRENCY), *row[_CURRENCY_AT + 1 :]) for row in rows
    ]


def _table(rows: list[tuple[str | int, ...]]) -> Select[Any]:
    """Rows of ours as a table for the database, in one value: there can be more of them than a statement takes values."""
    row = func.json_each(_json(rows)).table_valued("value").c.value
    names = enumerate((*HOUR_KEY, *SUMS))
    return select(*(func.json_extract(row, f"$[{place}]", type_=schema.usage_hour.c[name].type).label(name) for place, name in names))


def _json(rows: list[tuple[str | int, ...]]) -> str:
    return msgspec.json.encode(rows).decode()
