"""A PostgreSQL server: one pool of connections, limits of its own on every statement."""

import psycopg
from sqlalchemy import Table, make_url, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from penstock.storage.stores.sql.database import Database

_POOL_SIZE = 8
_WAIT_SECONDS = 5
_MIGRATION_LOCK = 0x70656E73746F636B  # "penstock"
# No statement of ours is long; one that is must not hold a connection for ever.
_SERVER_SETTINGS = {
    "statement_timeout": _WAIT_SECONDS * 1000,
    "lock_timeout": _WAIT_SECONDS * 1000,
    "idle_in_transaction_session_timeout": 30_000,
    # kB of new words that each search reads through until they are sorted in. With the server's own 4 MB that took 40 ms a search.
    "gin_pending_list_limit": 512,
}
_CONNECT_ARGS = {
    "application_name": "penstock",
    "connect_timeout": _WAIT_SECONDS,
    # A server that vanished without a word (its machine lost power) is noticed within about this time.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
}


class PostgresDatabase(Database):
    """A database on a server, shared by any number of processes."""

    driver_errors = psycopg.Error
    limit_seconds = 10.0  # the server's own limits come first, when it can still keep them

    def connect(self) -> None:
        self._reader = self._writer = _engine(self.url)

    async def _lock_schema(self, connection: AsyncConnection) -> None:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text("SET LOCAL lock_timeout = 0"))
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})

    def insert(self, table: Table) -> Insert:
        return insert(table)

    def _unavailable(self, error: BaseException) -> bool:
        if isinstance(error, psycopg.Error):
            if isinstance(error, psycopg.errors.ProgramLimitExceeded):
                return False  # about the statement's values, as a text that is too long: the same would be refused again
            # A server that fell back to read-only (a replica, after a fail-over) says so with an internal error.
            return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.errors.ReadOnlySqlTransaction)
        return True

    def _constraint(self, error: BaseException | None) -> str:
        if isinstance(error, psycopg.errors.ForeignKeyViolation):
            return "foreign key"
        return "unique" if isinstance(error, psycopg.errors.UniqueViolation) else ""


def _engine(url: str) -> AsyncEngine:
    address = make_url(url).set(drivername="postgresql+psycopg")
    own = " ".join(f"-c {name}={value}" for name, value in _SERVER_SETTINGS.items())
    options = " ".join(filter(None, [own, str(address.query.get("options", ""))]))
    return create_async_engine(
        address.difference_update_query(["options"]),
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_SIZE,
        pool_timeout=_WAIT_SECONDS,
        pool_pre_ping=True,  # so that a restarted server does not fail a statement
        pool_recycle=1800,
        connect_args=_CONNECT_ARGS | {"options": options},
    )
