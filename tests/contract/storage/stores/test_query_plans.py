"""The plans of the ledger's queries: a report or a page must not read the whole ledger."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import CompoundSelect, Dialect, Select
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect

from penstock.domain.ports import UsageQuery
from penstock.storage.stores import open_store
from penstock.storage.stores.ledger.blocks import blocks_query, cut_query, holders_query, whole_query
from penstock.storage.stores.ledger.hours import span
from penstock.storage.stores.ledger.queries import report_query
from penstock.storage.stores.ledger.rows import edge_query, records_query
from tests.contract.storage.stores.conftest import SECRET_KEY
from tests.contract.storage.stores.store_records import NOON, record

Server = psycopg.Connection[tuple[str]]
Query = Select[Any] | CompoundSelect[Any]

WHOLE_HOURS = {
    "one organisation": (UsageQuery(org_id="org_1", since=NOON, until=NOON + 36_000, group_by=("day",)), "usage_hour"),
    "everybody": (UsageQuery(since=NOON, until=NOON + 36_000), "usage_hour_time"),
}
WITH_EDGES = {
    "one organisation": (UsageQuery(org_id="org_1", since=NOON + 1, until=NOON + 36_001), "usage_record_org", "usage_block_org"),
    "everybody": (UsageQuery(since=NOON + 1, until=NOON + 36_001), "usage_record_time", "usage_block_time"),
}
PAGES = {
    "one organisation": (UsageQuery(org_id="org_1", limit=50), "usage_record_org", "usage_block_org"),
    "everybody": (UsageQuery(limit=50), "usage_record_time", "usage_block_time"),
}


@pytest.fixture
async def sqlite_file(tmp_path: Path) -> Path:
    file = tmp_path / "penstock.db"
    store = await open_store(f"sqlite:///{file}", migrate=True)
    for n in range(400):
        await store.ledger.append(f"batch {n}", [record(f"req_{n:04}", org_id=f"org_{n % 5}", started_at=NOON + n * 60)])
    await store.close()
    return file


@pytest.fixture
async def server(migrated_postgres: str) -> AsyncIterator[Server]:
    store = await open_store(migrated_postgres, secret_key=SECRET_KEY)
    await store.ledger.append("batch", [record(f"req_{n:05}", org_id=f"org_{n % 50}", started_at=NOON + n * 60) for n in range(20_000)])
    await store.close()
    with psycopg.connect(migrated_postgres) as connection:
        connection.execute("ANALYZE")
        yield connection
        connection.execute("DELETE FROM usage_record; DELETE FROM usage_hour; DELETE FROM usage_append")


POSTGRES: Dialect = PGDialect()  # type: ignore[no-untyped-call] # SQLAlchemy's own lack


def text(query: Query, dialect: Dialect) -> str:
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def sqlite_plan(file: Path, query: Query) -> str:
    connection = sqlite3.connect(file)
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text(query, SQLiteDialect())}")]
    connection.close()
    return "\n".join(steps)


def postgres_plan(server: Server, query: Query) -> str:
    return "\n".join(row[0] for row in server.execute(f"EXPLAIN {text(query, POSTGRES)}".encode()))


@pytest.mark.parametrize("name", WHOLE_HOURS)
def test_sqlite_searches_the_sums(sqlite_file: Path, name: str) -> None:
    query, index = WHOLE_HOURS[name]
    plan = sqlite_plan(sqlite_file, report_query(query, span(query.since, query.until), []))
    assert "SCAN usage_hour" not in plan
    assert index in plan


@pytest.mark.parametrize("name", WITH_EDGES)
def test_sqlite_searches_the_blocks_at_the_edges(sqlite_file: Path, name: str) -> None:
    query, _, index = WITH_EDGES[name]
    for edge in span(query.since, query.until).edges:
        for blocks in (whole_query(query, edge), cut_query(query, edge)):
            plan = sqlite_plan(sqlite_file, blocks)
            assert "SCAN usage_block" not in plan, plan
            assert f"{index} (" in plan, plan


@pytest.mark.parametrize("name", PAGES)
def test_sqlite_pages_walk_an_index(sqlite_file: Path, name: str) -> None:
    query, _, index = PAGES[name]
    for end in (None, (NOON + 6000, "req_0100")):
        plan = sqlite_plan(sqlite_file, blocks_query(query, end))
        assert index in plan
        assert "TEMP B-TREE" not in plan, plan  # no sorting of everything for one page


def test_sqlite_finds_a_request_by_an_index(sqlite_file: Path) -> None:
    plan = sqlite_plan(sqlite_file, holders_query("req_0100"))
    assert "SEARCH usage_block USING INDEX usage_block_request" in plan
    assert "TEMP B-TREE" not in plan, plan


def test_postgres_searches_for_reports_and_walks_for_pages(server: Server) -> None:
    for query, index in WHOLE_HOURS.values():
        assert index in postgres_plan(server, report_query(query, span(query.since, query.until), []))
    for query, index, _ in WITH_EDGES.values():
        wanted = span(query.since, query.until)
        plan = postgres_plan(server, report_query(query, wanted, [edge_query(query, edge) for edge in wanted.edges]))
        assert "Seq Scan on usage_record" not in plan, plan
        assert index in plan, plan
    for page, index, _ in PAGES.values():
        for after in (None, "req_01000"):
            plan = postgres_plan(server, records_query(page, after))
            assert index in plan
            assert "Sort" not in plan, plan
