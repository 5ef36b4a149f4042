"""A database as the areas of a store share it: transactions, and what a driver's errors mean to the rooms inside."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Insert, Row, Select, Table
from sqlalchemy import exc as sql_errors
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from penstock.domain.errors import Conflict, NotFound, PortUnavailable

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")


class Database(ABC):
    """Two engines (on PostgreSQL they are one) and the dialect's peculiarities."""

    driver_errors: type[Exception]
    limit_seconds: float | None = None
    """The longest that a transaction may take, for a server that neither answers nor breaks the connection; None: any time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._reader: AsyncEngine | None = None
        self._writer: AsyncEngine | None = None

    @abstractmethod
    def connect(self) -> None:
        """Make the engines. Raises StoreProblem, StoreLocked."""

    async def close(self) -> None:
        engines = {self._reader, self._writer}
        self._reader = self._writer = None
        for engine in engines:
            if engine is not None:
                await engine.dispose()

    @asynccontextmanager
    async def migration(self) -> AsyncIterator[AsyncConnection]:
        """A transaction without a time limit; no other process migrates until it ends."""
        async with self._connection(self._writer, None) as connection:
            await self._lock_schema(connection)
            yield connection

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection for queries. Raises PortUnavailable."""
        return self._connection(self._reader, self.limit_seconds)

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction, committed at the end of the block. Raises PortUnavailable, Conflict, NotFound."""
        return self._connection(self._writer, self.limit_seconds)

    async def rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        async with self.read() as connection:
            found: Sequence[Row[Any]] = (await connection.execute(query)).all()
            return found

    async def row(self, query: Select[Any]) -> Row[Any] | None:
        async with self.read() as connection:
            found: Row[Any] | None = (await connection.execute(query)).one_or_none()
            return found

    async def transact(self, work: Callable[[DBAPICursor], T]) -> T:
        """Run statements of the driver's own dialect inside a transaction. Raises PortUnavailable, Conflict."""
        return await self._raw(self.write(), work)

    async def query(self, work: Callable[[DBAPICursor], T]) -> T:
        """Run queries of the driver's own dialect. Raises PortUnavailable."""
        return await self._raw(self.read(), work)

    async def _raw(self, context: AbstractAsyncContextManager[AsyncConnection], work: Callable[[DBAPICursor], T]) -> T:
        try:
            async with context as connection:
                return await connection.run_sync(lambda inner: work(inner.connection.cursor()))
        except self.driver_errors as error:
            raise self._meaning(error) from error

    def _meaning(self, error: Exception) -> Exception:
        """Of an error of the driver, which did not pass through SQLAlchemy; the error itself when it can only be our own mistake."""
        if self._constraint(error) == "unique":
            return Conflict("There is one already.")
        return PortUnavailable(f"store: {error}") if self._unavailable(error) else error

    def upsert(self, table: Table) -> Insert:
        """INSERT that replaces every column of the row with the same primary key."""
        statement = self.insert(table)
        return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=dict(statement.excluded))

    @asynccontextmanager
    async def _connection(self, engine: AsyncEngine | None, limit_seconds: float | None) -> AsyncIterator[AsyncConnection]:
        if engine is None:
            raise PortUnavailable("the store is not open")
        try:
            async with asyncio.timeout(limit_seconds), engine.begin() as connection:
                yield connection
        except sql_errors.IntegrityError as error:
            raise self._refusal(error) from error
        except (sql_errors.DBAPIError, sql_errors.TimeoutError, OSError) as error:
            cause = error.orig if isinstance(error, sql_errors.DBAPIError) else error
            if cause is not None and self._unavailable(cause):
                raise PortUnavailable(f"store: {str(cause) or 'no answer'}") from error
            raise

    def _refusal(self, error: sql_errors.IntegrityError) -> Exception:
        """What a broken constraint means to the caller; the error itself when it can only be our own mistake."""
        kind = self._constraint(error.orig)
        if kind == "foreign key":
            return NotFound("There is no such organisation.", param="org_id")
        return Conflict("There is one already.") if kind == "unique" else error

    @abstractmethod
    def _unavailable(self, error: BaseException) -> bool:
        """Whether the error means that the database cannot be reached, is full or locked (and not that our SQL is wrong)."""

    @abstractmethod
    def _constraint(self, error: BaseException | None) -> str:
        """Which kind of constraint an integrity error is about: `unique`, `foreign key`, or empty for another."""

    @abstractmethod
    def insert(self, table: Table) -> "sqlite.Insert | postgresql.Insert":
        """The dialect's INSERT, which knows ON CONFLICT."""

    @abstractmethod
    async def _lock_schema(self, connection: AsyncConnection) -> None:
        """Keep other processes from migrating until the end of the transaction."""
