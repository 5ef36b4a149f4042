"""An SQLite connection on a thread of its own, for what is written all the time.

A transaction is one step from the event loop to the thread and back. Through the asynchronous driver it is fourteen, each of which
costs the loop as much as writing a hundred usage records.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from sqlalchemy.engine.interfaces import DBAPICursor


class ConnectionThread:
    """Connects at the first transaction."""

    def __init__(self, file: str, pragmas: Sequence[str]) -> None:
        self._file = file
        self._pragmas = pragmas
        self._executor = ThreadPoolExecutor(1, "penstock-ledger")
        self._connection: sqlite3.Connection | None = None

    async def transact(self, work: Callable[[DBAPICursor], bool]) -> bool:
        """Raises sqlite3.Error. Whoever is cancelled meanwhile does not stop it, and waits for its end."""
        done = asyncio.get_running_loop().run_in_executor(self._executor, self._transact, work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait([done])
            raise

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, self._disconnect)
        self._executor.shutdown()

    def _transact(self, work: Callable[[DBAPICursor], bool]) -> bool:
        connection = self._connection = self._connection or self._connect()
        connection.execute("BEGIN IMMEDIATE")
        try:
            done = work(cast("DBAPICursor", connection.cursor()))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite ends it by itself after some errors
                connection.execute("ROLLBACK")
            raise
        return done

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None)  # transactions begin when we say so
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
