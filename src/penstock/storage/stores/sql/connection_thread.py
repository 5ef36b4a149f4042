"""An SQLite connection on a thread of its own, for what is written all the time: the ledger and tasks.

A transaction is one step from the event loop to the thread and back. Through the asynchronous driver it is fourteen, each of which
costs the loop as much as writing a hundred usage records. And what arrives while a commit is on its way to the disk is committed
together: one flush for all of it, each part of which stands or falls alone.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from sqlalchemy.engine.interfaces import DBAPICursor

T = TypeVar("T")
_MOST_TOGETHER = 64
_Waiting = tuple[Callable[[DBAPICursor], Any], "asyncio.Future[Any]"]
_Done = tuple["asyncio.Future[Any]", Any, BaseException | None]


class ConnectionThread:
    """Connects at the first transaction."""

    def __init__(self, file: str, pragmas: Sequence[str]) -> None:
        self._file = file
        self._pragmas = pragmas
        self._executor = ThreadPoolExecutor(1, "penstock-store")
        self._connection: sqlite3.Connection | None = None
        self._waiting: deque[_Waiting] = deque()
        self.commits = 0
        """How often the disk was waited for."""

    async def transact(self, work: Callable[[DBAPICursor], T]) -> T:
        """Raises sqlite3.Error. A caller that is cancelled meanwhile does not stop it, and waits for its end."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((work, done))
        self._executor.submit(self._together, loop)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait([done])
            if not done.cancelled():
                done.exception()  # has been seen
            raise

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, self._disconnect)
        self._executor.shutdown()

    def _together(self, loop: asyncio.AbstractEventLoop) -> None:
        """One transaction for all that waits; nothing, when another call has done it already."""
        group: list[_Waiting] = []
        while self._waiting and len(group) < _MOST_TOGETHER:
            group.append(self._waiting.popleft())
        if group:
            done = self._transact(group)
            loop.call_soon_threadsafe(_tell, done)

    def _transact(self, group: Sequence[_Waiting]) -> list[_Done]:
        done: list[_Done] = []
        try:
            connection = self._connection = self._connection or self._connect()
            connection.execute("BEGIN IMMEDIATE")
            done = [(future, *_part(connection, work, alone=len(group) == 1)) for work, future in group]
            connection.execute("COMMIT")
            self.commits += 1
        except BaseException as error:
            if self._connection is not None and self._connection.in_transaction:  # SQLite ends it by itself after some errors
                self._connection.execute("ROLLBACK")
            failed = {future: own for future, _, own in done}
            return [(future, None, failed.get(future) or error) for _, future in group]
        return done

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None, cached_statements=256)  # transactions begin when we say so
        try:
            for pragma in self._pragmas:
                connection.execute(pragma)
        except BaseException:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _part(connection: sqlite3.Connection, work: Callable[[DBAPICursor], Any], *, alone: bool) -> tuple[Any, BaseException | None]:
    """Its value or its error, of which the others of its transaction see nothing. Raises when the whole transaction is lost."""
    if alone:
        return work(cast("DBAPICursor", connection.cursor())), None
    connection.execute("SAVEPOINT part")
    try:
        found = work(cast("DBAPICursor", connection.cursor()))
    except BaseException as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO part")
        connection.execute("RELEASE part")
        return None, error
    connection.execute("RELEASE part")
    return found, None


def _tell(done: Sequence[_Done]) -> None:
    for future, found, error in done:
        if future.done():
            continue
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)
