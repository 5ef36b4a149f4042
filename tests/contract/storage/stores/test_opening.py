import asyncio
import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from penstock.domain.errors import PortUnavailable
from penstock.domain.ports import SchemaOutdated, Store, StoreLocked, StoreProblem
from penstock.storage.stores import STORES, make_store, open_store
from tests.contract.storage.stores import store_records
from tests.support import postgres


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/penstock.db"
    else:
        with postgres.database() as url:
            yield url


def execute(url: str, statement: str) -> None:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(make_url(url).database or "")
        with connection:
            connection.execute(statement)
        connection.close()
    else:
        with psycopg.connect(url) as server:
            server.execute(statement)


def stored_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_written_records_survive_reopening_the_store(empty_url: str) -> None:
    store = await open_store(empty_url, migrate=True)
    await store.accounts.create_organisation(store_records.organisation())
    await store.workers.save(store_records.worker())
    secret = await store.secret("installation", b"never used")
    await store.close()

    again = await open_store(empty_url)
    assert await again.accounts.organisations() == [store_records.organisation()]
    assert await again.workers.all() == [store_records.worker()]
    assert await again.secret("installation", b"never used") == secret
    assert len(secret) == 32
    await again.close()


async def test_a_schema_that_is_missing_older_or_newer_is_refused(empty_url: str) -> None:
    with pytest.raises(SchemaOutdated, match="penstock migrate"):
        await open_store(empty_url)
    await (await open_store(empty_url, migrate=True)).close()
    execute(empty_url, "UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(SchemaOutdated, match=r"older schema 0000.*penstock migrate"):
        await open_store(empty_url)
    execute(empty_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaOutdated, match=r"9999, which is newer.*penstock migrate"):
        await open_store(empty_url, migrate=True)


async def test_another_secret_key_is_noticed_at_once(empty_url: str) -> None:
    await (await open_store(empty_url, secret_key=b"a" * 32, migrate=True)).close()
    with pytest.raises(StoreProblem, match="another secret key"):
        await open_store(empty_url, secret_key=b"b" * 32)
    await (await open_store(empty_url, secret_key=b"a" * 32)).close()


async def test_a_worker_secret_is_not_readable_in_the_database(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/penstock.db", migrate=True)
    await store.workers.save(store_records.worker())
    await store.close()
    assert b"gpu-" in stored_bytes(tmp_path)
    assert b"s3cret-" not in stored_bytes(tmp_path)


async def test_two_gateways_that_migrate_at_once_both_succeed() -> None:
    with postgres.database() as url:
        stores = await asyncio.gather(*(open_store(url, migrate=True) for _ in range(3)))
        await asyncio.gather(*(store.check() for store in stores))
        secrets = await asyncio.gather(*(store.secret("installation", b"") for store in stores))
        assert len(set(secrets)) == 1
        for store in stores:
            await store.close()


OWNER = """
import asyncio, sys
from penstock.storage.stores import open_store
asyncio.run(open_store(sys.argv[1], migrate=True))
print("open", flush=True)
sys.stdin.read()
"""


async def test_a_second_process_is_refused_with_the_first_ones_id(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/penstock.db"
    owner = await asyncio.create_subprocess_exec(sys.executable, "-W", "ignore", "-c", OWNER, url, stdin=PIPE, stdout=PIPE)
    assert owner.stdout is not None
    try:
        assert await owner.stdout.readline() == b"open\n"
        with pytest.raises(StoreLocked, match=rf"penstock\.db belongs to the running process {owner.pid}"):
            await open_store(url)
    finally:
        owner.kill()
        await owner.communicate()
    # A killed owner leaves no lock behind.
    await (await open_store(url)).close()


async def test_a_second_opener_in_the_same_process_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/penstock.db"
    store = await open_store(url, migrate=True)
    with pytest.raises(StoreLocked, match=str(os.getpid())):
        await open_store(url)
    await store.close()
    await (await open_store(url)).close()


async def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "made" / "on demand" / "penstock.db"
    store = await open_store(f"sqlite:///{file}", migrate=True)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    await store.close()
    assert modes == dict.fromkeys(["penstock.db", "penstock.db-wal", "penstock.db-shm", "penstock.db.lock"], 0o600)


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear customer, this is not a database.")
    with pytest.raises(StoreProblem, match="not an SQLite database"):
        await open_store(f"sqlite:///{file}", migrate=True)
    assert file.read_text().startswith("Dear customer")
    with pytest.raises(StoreProblem, match="cannot be opened"):
        await open_store(f"sqlite:///{tmp_path}", migrate=True)


async def test_a_failed_opening_leaves_the_file_free(tmp_path: Path) -> None:
    with pytest.raises(SchemaOutdated):
        await open_store(f"sqlite:///{tmp_path}/penstock.db")
    with (tmp_path / "penstock.db.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_a_store_that_is_not_open_is_unavailable() -> None:
    store = make_store("sqlite://")
    with pytest.raises(PortUnavailable, match="not open"):
        await store.accounts.organisations()
    with pytest.raises(PortUnavailable, match="not open"):
        await store.workers.save(store_records.worker())
    await store.close()


async def test_a_database_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(PortUnavailable):
        await open_store("postgresql://nobody@127.0.0.1:1/none")


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(StoreProblem, match="postgres, sqlite"):
        make_store("mysql://root@127.0.0.1/x")


def test_the_family_has_its_two_members() -> None:
    assert STORES.names() == ["postgres", "sqlite"]


def test_sqlite_does_not_import_the_other_driver_or_the_migrations() -> None:
    script = (
        "import sys\n"
        "from penstock.storage.stores import make_store\n"
        "make_store('sqlite://')\n"
        "print([name for name in ('psycopg', 'alembic') if name in sys.modules])\n"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.fixture
async def memory() -> AsyncIterator[Store]:
    store = await open_store("sqlite://", migrate=True)
    yield store
    await store.close()


async def test_two_stores_in_memory_are_two(memory: Store) -> None:
    await memory.accounts.create_organisation(store_records.organisation())
    other = await open_store("sqlite://", migrate=True)
    assert await other.accounts.organisations() == []
    await other.close()


async def test_empty_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "penstock.db"
    file.touch()
    store = make_store(f"sqlite:///{file}")
    with pytest.raises(StoreProblem, match="is empty: it has lost what it held"):
        await store.open(migrate=True)
    await store.close()
    assert file.stat().st_size == 0


@pytest.mark.parametrize("kept", [17, 100, 4_096, 5_000])
async def test_file_that_lost_its_end_is_a_sentence(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "penstock.db"
    store = make_store(f"sqlite:///{file}")
    await store.open(migrate=True)
    await store.close()
    file.write_bytes(file.read_bytes()[:kept])
    again = make_store(f"sqlite:///{file}")
    with pytest.raises(StoreProblem, match=r"damaged|lost"):
        await again.open(migrate=True)
    await again.close()


async def test_overwritten_pages_are_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "penstock.db"
    store = make_store(f"sqlite:///{file}")
    await store.open(migrate=True)
    await store.close()
    content = file.read_bytes()
    file.write_bytes(content[:100] + b"\xaa" * (len(content) - 100))
    again = make_store(f"sqlite:///{file}")
    with pytest.raises(StoreProblem, match="damaged"):
        await again.open(migrate=True)
    await again.close()


async def test_schema_without_its_tables_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "penstock.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001')")
    connection.close()
    store = make_store(f"sqlite:///{file}")
    with pytest.raises(StoreProblem, match="damaged, or not one of Penstock"):
        await store.open(migrate=True)
    await store.close()
