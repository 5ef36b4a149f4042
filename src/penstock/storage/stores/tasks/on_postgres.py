"""Tasks on PostgreSQL: the server's clock, and its NOTIFY for the news of other processes."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress

import msgspec
import psycopg

from penstock.domain.clock import Clock, SystemClock
from penstock.domain.durable.leases import LeaseCompletion
from penstock.domain.durable.tasks import TaskStatus
from penstock.domain.errors import PortUnavailable
from penstock.storage.stores.sql.database import Database
from penstock.storage.stores.tasks import minutes
from penstock.storage.stores.tasks.claim import PostgresClaims
from penstock.storage.stores.tasks.search.listing import PostgresListing
from penstock.storage.stores.tasks.store import SqlTasks, T
from penstock.storage.stores.tasks.time import StoreTime
from penstock.storage.stores.tasks.transaction import PostgresTransaction, TaskTransaction
from penstock.storage.stores.tasks.wakeups import ANY

CHANNEL = "penstock_tasks"
NOTIFY_EVERY_SECONDS = 0.05
_LISTEN_AGAIN_SECONDS = 1.0
_PATIENCE_SECONDS = 2.0
_LONGEST_NEWS = 1000
"""Characters; the server takes 8,000 bytes, and names may have four to a character, and quotes."""
_CLEANED_AFTER = 10_000
"""Leases that this process ended."""
_CLEAN = "VACUUM (ANALYZE, SKIP_LOCKED, TRUNCATE FALSE, PARALLEL 0) task_hot"
_PLAN_AGAIN = ("ANALYZE task (number)", "ANALYZE task_search (task)")
"""Statements keep the plans that suited a young store: whole reads. This makes each connection plan again."""
_NOTIFY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(?, ?)"
"""News need not outlive a crash of the server: their transaction does not wait for the disk."""
_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"
_ROLL_UP_LOCK = 0x726F6C6C7570  # "rollup"


class PostgresTasks(SqlTasks):
    def __init__(self, database: Database, address: str, clock: Clock | None) -> None:
        """`address` is the server's, as libpq takes it."""
        super().__init__(StoreTime(clock or SystemClock(), follow=clock is not None), PostgresClaims(), PostgresListing())
        self._database = database
        self._address = address
        self._learned = clock is not None
        self._unannounced: set[str] = set()
        self._closing = asyncio.Event()
        self._teller: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._cleaner: asyncio.Task[None] | None = None
        self._ended = self._ended_ever = 0
        self._plan_again_at = _CLEANED_AFTER

    async def close(self) -> None:
        await super().close()
        if self._teller is not None:
            # Asked, not cancelled: the driver does not like to be, in the middle of a transaction.
            self._closing.set()
            await asyncio.wait([self._teller], timeout=_PATIENCE_SECONDS)
        for task in (self._teller, self._listener, self._cleaner):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._teller = self._listener = self._cleaner = None
        self._closing.clear()

    async def wait(self, ticket: int, queues: Collection[str], timeout_seconds: float) -> bool:
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="penstock-task-news")
        return await super().wait(ticket, queues, timeout_seconds)

    async def finish(self, runner_id: str, finishes: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        found = await super().finish(runner_id, finishes)
        self._ended += len(found)
        self._ended_ever += len(found)
        if self._ended >= _CLEANED_AFTER and (self._cleaner is None or self._cleaner.done()):
            self._ended = 0
            self._cleaner = asyncio.create_task(self._clean(), name="penstock-task-cleaner")
        return found

    async def roll_up(self) -> int:
        def alone(db: TaskTransaction) -> int:
            free = db.row("SELECT pg_try_advisory_xact_lock(?)", _ROLL_UP_LOCK)
            return minutes.roll_up(db) if free and free[0] else 0

        return await self._write(alone)

    async def _write(self, work: Callable[[TaskTransaction], T]) -> T:
        try:
            return await self._database.transact(lambda cursor: work(self._timed(PostgresTransaction(cursor))))
        except PortUnavailable as error:
            if not isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
                raise
        # Of two that waited for each other the server has let the other one go first.
        return await self._database.transact(lambda cursor: work(self._timed(PostgresTransaction(cursor))))

    async def _read(self, work: Callable[[TaskTransaction], T]) -> T:
        return await self._database.query(lambda cursor: work(self._timed(PostgresTransaction(cursor))))

    def _timed(self, db: TaskTransaction) -> TaskTransaction:
        """What is written and compared has the server's time: of many processes, each on a machine with a clock of its own."""
        if not self._learned or self._time.stale:
            row = db.row(_CLOCK)
            if row is not None:
                self._time.observe(row[0], first=not self._learned)
                self._learned = True
        return db

    def _tell(self, ready: Iterable[str]) -> None:
        changed = set(ready)
        super()._tell(changed)
        if not changed:
            return
        self._unannounced |= changed
        if self._teller is None or self._teller.done():
            self._teller = asyncio.create_task(self._notify(), name="penstock-task-notify")

    async def _clean(self) -> None:
        """Each lease leaves dead rows at the very place where the next claim looks: they must go sooner than autovacuum comes."""
        grown = self._ended_ever >= self._plan_again_at
        try:
            async with await psycopg.AsyncConnection.connect(self._address, autocommit=True) as connection:
                await connection.execute(_CLEAN)
                for statement in _PLAN_AGAIN if grown else ():
                    await connection.execute(statement)
            if grown:
                self._plan_again_at = 2 * self._ended_ever
        except (psycopg.Error, OSError):
            pass  # it is done again after as many leases

    async def _notify(self) -> None:
        """At once for the first, then at most every 50 ms: each NOTIFY takes a lock of the whole server at its commit."""
        while self._unannounced:
            changed, self._unannounced = sorted(self._unannounced), set()
            if sum(map(len, changed)) > _LONGEST_NEWS:
                changed = [ANY]
            try:
                await self._database.transact(
                    lambda cursor: PostgresTransaction(cursor).rows(_NOTIFY, CHANNEL, msgspec.json.encode(changed).decode())  # noqa: B023
                )
            except PortUnavailable:
                pass  # a waiting claim looks by itself now and then
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), NOTIFY_EVERY_SECONDS)

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except (psycopg.Error, OSError):
                pass  # the server is away; the news that come meanwhile are made up for below
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)

    async def _hear(self) -> None:
        async with await psycopg.AsyncConnection.connect(self._address, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            self._wakeups.tell((ANY,))  # what came while the listener was down
            async for news in connection.notifies():
                self._wakeups.tell(msgspec.json.decode(news.payload, type=list[str]))
