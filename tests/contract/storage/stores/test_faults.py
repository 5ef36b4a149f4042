"""A database that goes away, fills up or is held by somebody else: PortUnavailable, and then it works again."""

import sqlite3
from pathlib import Path

import pytest

from penstock.domain.errors import PortUnavailable
from penstock.domain.ports import UsageQuery
from penstock.storage.stores import open_store
from penstock.storage.stores.sql.postgres_database import PostgresDatabase
from tests.contract.storage.stores import store_records
from tests.support.limited_sqlite import limit_pages
from tests.support.postgres_cluster import Cluster, cluster

__all__ = ["cluster"]


async def test_killed_postgres_raises_port_unavailable_until_its_restart(cluster: Cluster) -> None:
    store = await open_store(cluster.url, migrate=True)
    await store.ledger.append("one", [store_records.record("req_1")])
    cluster.kill()
    for _ in range(3):
        with pytest.raises(PortUnavailable):
            await store.check()
        with pytest.raises(PortUnavailable):
            await store.ledger.append("two", [store_records.record("req_2")])
    cluster.start()
    await store.check()
    assert not await store.ledger.append("one", [store_records.record("req_1")])
    assert await store.ledger.append("two", [store_records.record("req_2")])
    (row,) = await store.ledger.report(UsageQuery())
    assert row.requests == 2
    await store.close()


async def test_a_postgres_that_never_answers_is_unavailable(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await open_store(cluster.url, migrate=True)).close()
    monkeypatch.setattr(PostgresDatabase, "limit_seconds", 0.5)
    cluster.freeze()
    with pytest.raises(PortUnavailable, match="no answer"):
        await open_store(cluster.url)
    cluster.thaw()
    monkeypatch.undo()
    await (await open_store(cluster.url)).close()


@pytest.mark.fault("Store file can grow no more", "writes refused, what is there stays")
async def test_a_full_disk_refuses_writes_and_keeps_what_is_there(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/penstock.db", migrate=True)
    await store.ledger.append("one", [store_records.record("req_1")])
    await limit_pages(store, 60)
    many = [store_records.record(f"req_{number}") for number in range(2, 5000)]
    with pytest.raises(PortUnavailable, match="full"):
        await store.ledger.append("many", many)
    assert [record.request_id for record in await store.ledger.records(UsageQuery())] == ["req_1"]
    await limit_pages(store, 1_000_000)
    assert await store.ledger.append("many", many)
    await store.close()


async def test_a_file_that_another_program_holds_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.storage.stores.sql.sqlite_database._BUSY", "PRAGMA busy_timeout=10")
    store = await open_store(f"sqlite:///{tmp_path}/penstock.db", migrate=True)
    intruder = sqlite3.connect(tmp_path / "penstock.db", isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    with pytest.raises(PortUnavailable, match="locked"):
        await store.accounts.create_organisation(store_records.organisation())
    with pytest.raises(PortUnavailable, match="locked"):
        await store.ledger.append("one", [store_records.record("req_1")])
    intruder.execute("ROLLBACK")
    intruder.close()
    await store.accounts.create_organisation(store_records.organisation())
    assert await store.ledger.append("one", [store_records.record("req_1")])
    await store.close()
