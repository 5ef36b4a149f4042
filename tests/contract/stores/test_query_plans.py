"""The plans of the ledger's queries: a report or a page must not read the whole ledger."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Dialect, Select
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect

from penstock.domain.ports import UsageQuery
from penstock.stores import open_store
from penstock.stores._ledger import records_query, report_query
from tests.contract.stores.conftest import SECRET_KEY
from tests.contract.stores.values import NOON, record

Server = psycopg.Connection[tuple[str]]

REPORTS = {
    "one organisation": (UsageQuery(org_id="org_1", since=NOON, until=NOON + 36_000, group_by=("day",)), ["usage_hour"]),
    "everybody": (UsageQuery(since=NOON, until=NOON + 36_000), ["usage_hour_time"]),
    "edges of one organisation": (UsageQuery(org_id="org_1", since=NOON + 1, until=NOON + 36_001), ["usage_record_org"]),
    "edges of everybody": (UsageQuery(since=NOON + 1, until=NOON + 36_001), ["usage_record_time"]),
}
PAGES = {
    "one organisation": (UsageQuery(org_id="org_1", limit=50), "usage_record_org"),
    "everybody": (UsageQuery(limit=50), "usage_record_time"),
}


@pytest.fixture
async def sqlite_file(tmp_path: Path) -> Path:
    file = tmp_path / "penstock.db"
    store = await open_store(f"sqlite:///{file}", migrate=True)
    await store.append([record(f"req_{n}", org_id=f"org_{n % 5}", started_at=NOON + n * 60) for n in range(2000)])
    await store.close()
    return file


@pytest.fixture
async def server(migrated_postgres: str) -> AsyncIterator[Server]:
    store = await open_store(migrated_postgres, secret_key=SECRET_KEY)
    await store.append([record(f"req_{n}", org_id=f"org_{n % 50}", started_at=NOON + n * 60) for n in range(20_000)])
    await store.close()
    with psycopg.connect(migrated_postgres) as connection:
        connection.execute("ANALYZE")
        yield connection
        connection.execute("DELETE FROM usage_record; DELETE FROM usage_hour")


POSTGRES: Dialect = PGDialect()  # type: ignore[no-untyped-call] # SQLAlchemy's own lack


def text(query: Select[Any], dialect: Dialect) -> str:
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def sqlite_plan(file: Path, query: Select[Any]) -> str:
    connection = sqlite3.connect(file)
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text(query, SQLiteDialect())}")]
    connection.close()
    return "\n".join(steps)


def postgres_plan(server: Server, query: Select[Any]) -> str:
    return "\n".join(row[0] for row in server.execute(f"EXPLAIN {text(query, POSTGRES)}".encode()))


@pytest.mark.parametrize("name", REPORTS)
def test_sqlite_reports_search(sqlite_file: Path, name: str) -> None:
    query, indexes = REPORTS[name]
    plan = sqlite_plan(sqlite_file, report_query(query))
    assert "SCAN usage_hour" not in plan
    assert "SCAN usage_record" not in plan
    assert all(index in plan for index in indexes), plan


@pytest.mark.parametrize("name", PAGES)
def test_sqlite_pages_walk_an_index(sqlite_file: Path, name: str) -> None:
    query, index = PAGES[name]
    for after in (None, "req_1000"):
        plan = sqlite_plan(sqlite_file, records_query(query, after))
        assert index in plan
        assert "TEMP B-TREE" not in plan, plan  # no sorting of everything for one page


def test_postgres_searches_for_reports_and_walks_for_pages(server: Server) -> None:
    for report, indexes in REPORTS.values():
        plan = postgres_plan(server, report_query(report))
        assert "Seq Scan on usage_record" not in plan, plan
        assert all(index in plan for index in indexes), plan
    for page, index in PAGES.values():
        for after in (None, "req_1000"):
            plan = postgres_plan(server, records_query(page, after))
            assert index in plan
            assert "Sort" not in plan, plan
