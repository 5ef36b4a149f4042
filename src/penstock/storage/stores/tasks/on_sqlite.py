"""Tasks on SQLite: written on the connection that the ledger has, so that what comes together is flushed together."""

from collections.abc import Callable

from penstock.domain.clock import Clock, SystemClock
from penstock.storage.stores.sql.connection import Connected
from penstock.storage.stores.tasks.claim import SqliteClaims
from penstock.storage.stores.tasks.db import Db, SqliteDb
from penstock.storage.stores.tasks.search.listing import SqliteListing
from penstock.storage.stores.tasks.store import SqlTasks, T
from penstock.storage.stores.tasks.time import StoreTime


class SqliteTasks(SqlTasks):
    def __init__(self, store: Connected, clock: Clock | None) -> None:
        super().__init__(StoreTime(clock or SystemClock(), follow=True), SqliteClaims(), SqliteListing())
        self._store = store

    async def _write(self, work: Callable[[Db], T]) -> T:
        return await self._store._transact(lambda cursor: work(SqliteDb(cursor)))

    async def _read(self, work: Callable[[Db], T]) -> T:
        return await self._store._look(lambda cursor: work(SqliteDb(cursor)))
