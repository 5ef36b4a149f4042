"""PostgreSQL: the system of record of an installation that is more than one process."""

import psycopg
from sqlalchemy import Table, make_url, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from penstock.domain.clock import Clock
from penstock.storage.stores._sql_store import SqlStore
from penstock.storage.stores.ledger.records import RecordLedger
from penstock.storage.stores.tasks.on_postgres import PostgresTasks

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


class PostgresStore(RecordLedger, SqlStore):
    _driver_errors = psycopg.Error

    def __init__(self, url: str, *, secret_key: bytes | None = None, clock: Clock | None = None) -> None:
        super().__init__(url, secret_key=secret_key)
        address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self.tasks: PostgresTasks = PostgresTasks(self, address, clock)

    async def close(self) -> None:
        await self.tasks.close()
        await super().close()

    _limit_seconds = 10.0  # the server's own limits come first, when it can still keep them

    def _connect(self) -> None:
        self._reader = self._writer = _engine(self._url)

    async def _lock_schema(self, connection: AsyncConnection) -> None:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text("SET LOCAL lock_timeout = 0"))
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})

    def _insert(self, table: Table) -> Insert:
        return insert(table)

    def _unavailable(self, error: BaseException) -> bool:
        if isinstance(error, psycopg.Error):
            # A server that fell back to read-only (a replica, after a fail-over) says so with an internal error.
            return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.errors.ReadOnlySqlTransaction)
        return True

    def _constraint(self, error: BaseException | None) -> str:
        if isinstance(error, psycopg.errors.ForeignKeyViolation):
            return "foreign key"
        return "unique" if isinstance(error, psycopg.errors.UniqueViolation) else ""


MEMBER = PostgresStore


def _engine(url: str) -> AsyncEngine:
    address = make_url(url).set(drivername="postgresql+psycopg")
    own = " ".join(f"-c {name}={value}" for name, value in _SERVER_SETTINGS.items())
    options = " ".join(filter(None, [own, str(address.query.get("options", ""))]))
    return create_async_engine(
        address.difference_update_query(["options"]),
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_SIZE,
        pool_timeout=_WAIT_SECONDS,
        pool_pre_ping=True,  # so that a restarted server costs nobody an error
        pool_recycle=1800,
        connect_args=_CONNECT_ARGS | {"options": options},
    )
