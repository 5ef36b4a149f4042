"""SQLite: one file beside the gateway, or in memory for tests."""

from penstock.domain.clock import Clock
from penstock.domain.ports import StoreFactory
from penstock.storage.stores._store import SqlStore
from penstock.storage.stores.ledger.blocks import BlockStorage
from penstock.storage.stores.sql.sqlite_database import SqliteDatabase
from penstock.storage.stores.tasks.on_sqlite import SqliteTasks


def sqlite_store(url: str, *, secret_key: bytes | None = None, clock: Clock | None = None) -> SqlStore:
    """A store at `sqlite:///file` or `sqlite://` (in memory), not yet open."""
    database = SqliteDatabase(url)
    return SqlStore(database, BlockStorage(database), SqliteTasks(database, clock), secret_key=secret_key)


MEMBER: StoreFactory = sqlite_store
