"""The plans of what is asked all the time: beside many finished tasks, nothing may walk through them."""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from penstock.domain.clock import ManualClock
from penstock.domain.durable.leases import RunnerRecord
from penstock.domain.durable.task_search import TaskFilter, TaskQuery, TaskSort
from penstock.domain.durable.tasks import TaskStatus
from penstock.storage.stores import open_store
from penstock.storage.stores.tasks import claim, on_postgres
from penstock.storage.stores.tasks.search.listing import Listing, PostgresListing, SqliteListing
from penstock.storage.stores.tasks.transaction import PostgresTransaction, SqliteTransaction, TaskTransaction
from tests.contract.storage.stores.conftest import EMPTY, SECRET_KEY
from tests.contract.storage.stores.tasks.task_store_client import ORG, START, TaskStoreClient
from tests.support.waiting import until

PAGES = {
    "newest": (TaskQuery(), "task_org"),
    "finished": (TaskQuery(sort=TaskSort.FINISHED), "task_finished"),
    "failed": (TaskQuery(TaskFilter(statuses=frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED}))), "task_unusual"),
}
SEARCH = TaskQuery(TaskFilter(text="needle"))


async def fill(url: str, count: int) -> None:
    """Many that are over, and a few that wait or run."""
    clock = ManualClock(START)
    store = await open_store(url, secret_key=SECRET_KEY, clock=clock, migrate=True)
    client = TaskStoreClient(store, clock)
    await client.tasks.register(RunnerRecord("run_1", "r", None, (), 10))
    for part in range(count // 1000):
        org = f"org_{part % 4}" if part % 2 else ORG
        await client.tasks.enqueue([client.new("needle" if place == 7 else "hay", org_id=org) for place in range(1000)])
        await client.end(*await client.claim(1000))
    await client.tasks.enqueue([client.new("hay") for _ in range(50)])
    await client.claim(10)
    await store.close()


@pytest.fixture(scope="module")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plans") / "penstock.db"
    asyncio.run(fill(f"sqlite:///{file}", 4000))
    return file


@pytest.fixture(scope="module")
def server(migrated_postgres: str) -> Iterator["psycopg.Connection[tuple[str]]"]:
    asyncio.run(fill(migrated_postgres, 20_000))
    with psycopg.connect(migrated_postgres, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        yield connection
        connection.execute(EMPTY)


def sqlite_plan(file: Path, statement: str, values: Sequence[Any]) -> str:
    connection = sqlite3.connect(file)
    try:
        return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))
    finally:
        connection.close()


def postgres_plan(server: "psycopg.Connection[tuple[str]]", statement: str, values: Sequence[Any]) -> str:
    statement = statement.replace("%", "%%").replace("?", "%s")
    return "\n".join(row[0] for row in server.execute(f"EXPLAIN {statement}", values))


def listed(db: type[TaskTransaction], listing: Listing, query: TaskQuery) -> tuple[str, list[Any]]:
    statement, values = listing.statement(listing.wanted(db(None), ORG, query), query)  # type: ignore[arg-type]
    return statement, [*values, query.limit]


def test_claims_on_sqlite_walk_the_ready_ones(sqlite_file: Path) -> None:
    place = (ORG, "medium", "function:hay")
    for statement, values in (
        (claim.SqliteClaims.NEXT, ("", "", "")),
        (claim.SqliteClaims.NEXT_OF_ONE, place),
        (claim.KEYS, (*place, 10)),
        (claim.SqliteClaims.LEASE.partition(" RETURNING")[0], ("run_1", 0.0, *place, 10)),
    ):
        plan = sqlite_plan(sqlite_file, statement, values)
        assert "INDEX task_hot_ready" in plan, plan
        assert "SCAN" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def test_claims_on_postgres_walk_the_ready_ones(server: "psycopg.Connection[tuple[str]]") -> None:
    place = (ORG, "medium", "function:hay")
    takes = ([ORG], ["medium"], ["function:hay"], [10])
    for statement, values in (
        (claim.PostgresClaims.WAITING, ("", "~", "run_1", "~", 10)),
        (claim.KEYS, (*place, 10)),
        (claim.PostgresClaims.TAKE, (*takes, "run_1", 0.0)),
    ):
        server.execute("SET enable_seqscan = off")  # the table of the test is one page: which index there is, not which is cheaper
        plan = postgres_plan(server, statement, values)
        assert "task_hot_ready" in plan, plan
        assert "Seq Scan on task " not in plan, plan
        assert "Sort Key: task_hot.sort_key" not in plan, plan
        server.execute("SET enable_seqscan = on")


@pytest.fixture
def long_line(migrated_postgres: str) -> Iterator["psycopg.Connection[tuple[str]]"]:
    """Thousands that wait, and a server that knows how many there are."""
    asyncio.run(wait_in_line(migrated_postgres, 5000))
    with psycopg.connect(migrated_postgres, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE task, task_hot")
        yield connection
        connection.execute(EMPTY)


async def wait_in_line(url: str, count: int) -> None:
    clock = ManualClock(START)
    store = await open_store(url, secret_key=SECRET_KEY, clock=clock, migrate=True)
    client = TaskStoreClient(store, clock)
    await client.runner()
    await client.tasks.enqueue([client.new("hay") for _ in range(count)])
    await store.close()


def test_a_claim_on_postgres_does_not_read_the_line_behind_it(long_line: "psycopg.Connection[tuple[str]]") -> None:
    plan = postgres_plan(long_line, claim.PostgresClaims.TAKE, ([ORG], ["medium"], ["function:hay"], [200], "run_1", 0.0))
    assert "task_hot_ready" in plan, plan
    assert "Seq Scan" not in plan, plan
    assert "Hash" not in plan, plan


@pytest.mark.parametrize("page", PAGES)
def test_pages_on_sqlite_walk_an_index_in_their_order(sqlite_file: Path, page: str) -> None:
    query, index = PAGES[page]
    plan = sqlite_plan(sqlite_file, *listed(SqliteTransaction, SqliteListing(), query))
    assert f"USING INDEX {index}" in plan, plan
    assert "SCAN t" not in plan, plan
    assert page == "failed" or "TEMP B-TREE" not in plan, plan


@pytest.mark.parametrize("page", PAGES)
def test_pages_on_postgres_walk_an_index_in_their_order(server: "psycopg.Connection[tuple[str]]", page: str) -> None:
    query, index = PAGES[page]
    plan = postgres_plan(server, *listed(PostgresTransaction, PostgresListing(), query))
    assert index in plan or (page == "newest" and "task_pkey" in plan), plan
    assert "Seq Scan on task " not in plan, plan


def test_a_search_on_sqlite_asks_the_index_of_words(sqlite_file: Path) -> None:
    plan = sqlite_plan(sqlite_file, *listed(SqliteTransaction, SqliteListing(), SEARCH))
    assert plan.startswith("SCAN s VIRTUAL TABLE INDEX"), plan
    assert "SEARCH t USING INTEGER PRIMARY KEY" in plan, plan
    assert "TEMP B-TREE" not in plan, plan  # it comes in the order of the page, and ends with it


def test_a_search_on_postgres_looks_at_the_newest_and_then_asks_the_index_of_words(server: "psycopg.Connection[tuple[str]]") -> None:
    listing = PostgresListing()
    some, more, all_ = listing.hits(listing.wanted(PostgresTransaction(None), ORG, SEARCH), SEARCH)  # type: ignore[arg-type]
    for newest in (some, more):
        plan = postgres_plan(server, newest, [50])
        assert "Index Scan Backward using task_search_pkey" in plan, plan
        assert "Sort" not in plan, plan
    plan = postgres_plan(server, all_, [50])
    assert "Bitmap Index Scan on task_search_document" in plan, plan


def test_a_search_with_conditions_on_postgres_asks_the_index_of_words(server: "psycopg.Connection[tuple[str]]") -> None:
    plan = postgres_plan(server, *listed(PostgresTransaction, PostgresListing(), TaskQuery(TaskFilter(text="needle", queue="low"))))
    assert "task_search_document" in plan, plan
    assert "Seq Scan" not in plan, plan


async def test_plans_of_a_young_store_are_made_again_as_it_grows(migrated_postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_postgres, "_CLEANED_AFTER", 20)
    clock = ManualClock(START)
    with psycopg.connect(migrated_postgres, autocommit=True) as connection:
        store = await open_store(migrated_postgres, secret_key=SECRET_KEY, clock=clock, migrate=True)
        client = TaskStoreClient(store, clock)
        await client.runner()
        before = analysed(connection)
        await client.tasks.enqueue([client.new() for _ in range(20)])
        await client.end(*await client.claim(20))
        await until(lambda: all(count != before[name] for name, count in analysed(connection).items()), 30)
        await store.close()
        connection.execute(EMPTY)


def analysed(connection: "psycopg.Connection[Any]") -> dict[str, int]:
    """How often, by table."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    names = ["task", "task_search", "task_hot"]
    return dict(connection.execute("SELECT relname, analyze_count FROM pg_stat_user_tables WHERE relname = ANY(%s)", [names]).fetchall())
