"""PostgreSQL: the system of record of an installation that is more than one process."""

from sqlalchemy import make_url

from penstock.domain.clock import Clock
from penstock.domain.ports import StoreFactory
from penstock.storage.stores._store import SqlStore
from penstock.storage.stores.ledger.rows import RowStorage
from penstock.storage.stores.sql.postgres_database import PostgresDatabase
from penstock.storage.stores.tasks.on_postgres import PostgresTasks


def postgres_store(url: str, *, secret_key: bytes | None = None, clock: Clock | None = None) -> SqlStore:
    """A store at `postgresql://...`, not yet open."""
    database = PostgresDatabase(url)
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return SqlStore(database, RowStorage(database), PostgresTasks(database, address, clock), secret_key=secret_key)


MEMBER: StoreFactory = postgres_store
