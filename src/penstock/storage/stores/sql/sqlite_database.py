"""SQLite: one file beside the gateway, or in memory for tests. The file belongs to one process at a time.

One connection writes policy, one the ledger, others read beside them (write-ahead log). Every commit reaches the disk before it is
acknowledged (`synchronous=FULL`): the ledger comes in batches, so that one flush a batch costs little, and the rest is written rarely.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import ExceptionContext, Table, event, make_url
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from penstock.domain.ports import StoreProblem
from penstock.storage.stores.sql.connection_thread import ConnectionThread
from penstock.storage.stores.sql.database import Database, T
from penstock.storage.stores.sql.file_lock import FileLock

_READERS = 4
_WAIT_SECONDS = 5.0
_MAGIC = b"SQLite format 3\0"
# Primary result codes (the low byte): busy, locked, nomem, readonly, ioerr, full, cantopen, perm.
_UNAVAILABLE = frozenset({5, 6, 7, 8, 10, 13, 14, 3})
_CONSTRAINTS = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: "unique",
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "unique",
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "foreign key",
}
_BUSY = f"PRAGMA busy_timeout={int(_WAIT_SECONDS * 1000)}"
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA cache_size=-2048",  # 2 MiB a connection that writes: blocks are appended, and the kernel caches the file anyway
)
_READING = ("PRAGMA query_only=ON", "PRAGMA cache_size=-512")  # there are several, and what they fill is never given back


class SqliteDatabase(Database):
    """A file that this process owns while it is open, or a database in memory."""

    driver_errors = sqlite3.Error

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._lock: FileLock | None = None
        self._thread: ConnectionThread | None = None

    def connect(self) -> None:
        file = self._file()
        if file is None:
            # One connection for all callers: it is the database.
            self._reader = self._writer = _engine("", writes=True, size=1)
            return
        _prepare(file)
        lock = FileLock(file)
        lock.acquire()
        self._lock = lock
        self._writer = _engine(str(file), writes=True, size=1)
        self._reader = _engine(str(file), writes=False, size=_READERS)
        self._thread = ConnectionThread(str(file), (*_PRAGMAS, _BUSY))

    @property
    def flushes(self) -> int:
        """How often the ledger and tasks waited for the disk."""
        return 0 if self._thread is None else self._thread.commits

    async def close(self) -> None:
        if self._thread is not None:
            await self._thread.close()
            self._thread = None
        await super().close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def _lock_schema(self, connection: AsyncConnection) -> None:
        """Nothing to do: the file is ours alone, and there is one writer."""

    def insert(self, table: Table) -> Insert:
        return insert(table)

    async def transact(self, work: Callable[[DBAPICursor], T]) -> T:
        if self._thread is None:
            return await super().transact(work)
        try:
            return await self._thread.transact(work)
        except sqlite3.Error as error:
            raise self._meaning(error) from error

    def _unavailable(self, error: BaseException) -> bool:
        if isinstance(error, sqlite3.Error):
            return getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNAVAILABLE
        return True

    def _constraint(self, error: BaseException | None) -> str:
        return _CONSTRAINTS.get(getattr(error, "sqlite_errorcode", 0), "")

    def _file(self) -> Path | None:
        """The file that the URL names; None: in memory."""
        name = make_url(self.url).database
        return None if not name or name == ":memory:" else Path(name).absolute()


def _engine(database: str, *, writes: bool, size: int) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{database}",
        poolclass=AsyncAdaptedQueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=_WAIT_SECONDS,
        connect_args={"isolation_level": None},  # transactions begin when we say so, not when the driver thinks best
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, _BUSY) if writes else (*_PRAGMAS, _BUSY, *_READING):
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "handle_error")
    def keep(context: ExceptionContext) -> None:
        # A cancelled statement still ends, in the connection's own thread, before our rollback runs there: the connection is
        # good. To close it, as is the rule for other databases, would lose a database in memory.
        if isinstance(context.original_exception, asyncio.CancelledError):
            context.is_disconnect = False

    if writes:

        @event.listens_for(engine.sync_engine, "begin")
        def begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _prepare(file: Path) -> None:
    """Make the file readable by its owner alone; SQLite gives its companions the same mode. Raises StoreProblem."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        existed = file.exists()
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            beginning = os.read(descriptor, len(_MAGIC))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreProblem(f"The store {file} cannot be opened: {error.strerror}.") from error
    if existed and not beginning:
        raise StoreProblem(f"The store {file} is empty: it has lost what it held. Restore a backup, or remove the file to begin anew.")
    if beginning not in (b"", _MAGIC):
        raise StoreProblem(f"The store {file} is not an SQLite database.")
