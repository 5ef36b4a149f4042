"""Tasks on SQLite: written on the connection that the ledger has, so that what comes together is flushed together."""

from collections.abc import Callable

from penstock.domain.clock import Clock, SystemClock
from penstock.storage.stores.sql.database import Database
from penstock.storage.stores.tasks.claim import SqliteClaims
from penstock.storage.stores.tasks.search.listing import SqliteListing
from penstock.storage.stores.tasks.store import SqlTasks, T
from penstock.storage.stores.tasks.time import StoreTime
from penstock.storage.stores.tasks.transaction import SqliteTransaction, TaskTransaction


class SqliteTasks(SqlTasks):
    def __init__(self, database: Database, clock: Clock | None) -> None:
        super().__init__(StoreTime(clock or SystemClock(), follow=True), SqliteClaims(), SqliteListing())
        self._database = database

    async def _write(self, work: Callable[[TaskTransaction], T]) -> T:
        return await self._database.transact(lambda cursor: work(SqliteTransaction(cursor)))

    async def _read(self, work: Callable[[TaskTransaction], T]) -> T:
        return await self._database.query(lambda cursor: work(SqliteTransaction(cursor)))
