"""The change feed: a counter raised in the same transaction as each policy write, and what each version changed.

Raising the counter locks its row until the commit, so versions become visible in order and without gaps. It is the last thing
that a transaction does, so that the lock is short and two writers never wait for each other in a circle.
"""

from typing import Any

from sqlalchemy import Delete, Insert, Table, Update, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.domain.ports import Changes
from penstock.storage.stores.sql import tables
from penstock.storage.stores.sql.database import Database

KINDS = ("organisation", "plan", "policy", "key", "model", "worker", "join_token")
KEPT_VERSIONS = 10_000
TOLD_VERSIONS = 9_000  # fewer than are kept: what a slow reader is being told is not pruned under its eyes
EVERYTHING = frozenset((kind, "*") for kind in KINDS)


async def note_change(connection: AsyncConnection, kind: str, subject: str) -> None:
    """Tell the feed; belongs at the end of the transaction that made the change."""
    counter, change = tables.change_counter, tables.change
    raised = update(counter).values(version=counter.c.version + 1).returning(counter.c.version)
    version = (await connection.execute(raised)).scalar_one()
    await connection.execute(insert(change).values(version=version, kind=kind, subject=subject))
    await connection.execute(delete(change).where(change.c.version <= version - KEPT_VERSIONS))


async def add(database: Database, table: Table, values: dict[str, Any], kind: str, subject: str) -> None:
    """Insert a row and tell the feed. Raises Conflict when its id, or another unique value, is there already."""
    await edit(database, insert(table).values(**values), kind, subject)


async def edit(database: Database, statement: Insert | Update | Delete, kind: str, subject: str) -> bool:
    """Run a statement that touches one row, and tell the feed; False, and no change, when it found none."""
    async with database.write() as connection:
        touched = await connection.execute(statement, execution_options={"preserve_rowcount": True})  # of an INSERT, too
        if touched.rowcount < 1:
            return False
        await note_change(connection, kind, subject)
    return True


class SqlChangeFeed:
    """Implements `ChangeFeed`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def since(self, version: int) -> Changes:
        """A version that is too old, or newer than the store (which was restored from a backup), gets `EVERYTHING`."""
        change = tables.change
        async with self._database.read() as connection:
            newest = (await connection.execute(select(tables.change_counter.c.version))).scalar_one()
            if newest == version:
                return Changes(version, frozenset())
            if not newest - TOLD_VERSIONS <= version < newest:
                return Changes(newest, EVERYTHING)
            missed = select(change.c.kind, change.c.subject).where(change.c.version > version, change.c.version <= newest)
            rows = (await connection.execute(missed)).all()
        return Changes(newest, frozenset((row.kind, row.subject) for row in rows))
