"""A SQLite database that is full at a size that the test sets."""

from penstock.domain.ports import Store
from penstock.storage.stores._store import SqlStore
from penstock.storage.stores.sql.sqlite_database import SqliteDatabase


def sqlite_database(store: Store) -> SqliteDatabase:
    assert isinstance(store, SqlStore)
    assert isinstance(store.database, SqliteDatabase)
    return store.database


async def limit_pages(store: Store, count: int) -> None:
    """How a disk fills up, as far as SQLite can tell."""
    await sqlite_database(store).transact(lambda cursor: bool(cursor.execute(f"PRAGMA max_page_count = {count}")))
