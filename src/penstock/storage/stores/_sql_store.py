"""One SQL database that is every durable port; what differs between databases is in the members."""

import secrets
from abc import abstractmethod

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.domain.ports import StoreProblem
from penstock.storage.stores import _migration as migration
from penstock.storage.stores import _schema as schema
from penstock.storage.stores.accounts.queries import SqlAccounts
from penstock.storage.stores.catalog.queries import SqlCatalogue
from penstock.storage.stores.decisions.queries import SqlDecisions
from penstock.storage.stores.ledger.queries import SqlLedger
from penstock.storage.stores.objects.queries import SqlObjects
from penstock.storage.stores.policy.queries import SqlPolicy
from penstock.storage.stores.sql import tables
from penstock.storage.stores.sql.sealing import Seal, fingerprint
from penstock.storage.stores.tasks.store import SqlTasks
from penstock.storage.stores.workers.queries import SqlWorkers

INSTALLATION_SECRET = "installation"  # noqa: S105 - the name of one, not a secret
_FINGERPRINT = "secret-key-fingerprint"
_SECRET_BYTES = 32


class SqlStore(SqlAccounts, SqlCatalogue, SqlPolicy, SqlWorkers, SqlObjects, SqlDecisions, SqlLedger):
    """A store at a URL. `secret_key` seals what must be read again; None: the installation's secret, kept in the store itself."""

    tasks: SqlTasks

    def __init__(self, url: str, *, secret_key: bytes | None = None) -> None:
        self._url = url
        self._secret_key = secret_key

    async def open(self, *, migrate: bool = False) -> None:
        """Connect. Raises SchemaOutdated, StoreLocked, StoreProblem when the secret key is not this store's, PortUnavailable."""
        self._connect()
        try:
            await self._ensure_schema(migrate)
            await self._unlock_secrets()
        except BaseException:
            await self.close()
            raise

    async def check(self) -> None:
        await self._row(select(tables.change_counter.c.version))

    async def close(self) -> None:
        engines = {self._reader, self._writer} - {None}
        self._reader = self._writer = self._seal = None
        for engine in engines:
            if engine is not None:
                await engine.dispose()

    async def secret(self, name: str, candidate: bytes) -> bytes:
        async with self._write() as connection:
            await connection.execute(self._insert(tables.secret).values(name=name, value=candidate).on_conflict_do_nothing())
            stored = await connection.execute(select(tables.secret.c.value).where(tables.secret.c.name == name))
            return bytes(stored.scalar_one())

    async def schema_version(self) -> str:
        """The newest migration that was applied; empty for an empty database."""
        async with self._read() as connection:
            return await connection.run_sync(migration.version)

    async def _ensure_schema(self, migrate: bool) -> None:
        found = await self.schema_version()
        if found == schema.SCHEMA_VERSION:
            return
        if not migrate or found > schema.SCHEMA_VERSION:
            raise migration.problem(found)
        async with self._connection(self._writer, None) as connection:
            await self._lock_schema(connection)
            await connection.run_sync(migration.bring_up_to_date)

    async def _unlock_secrets(self) -> None:
        key = self._secret_key or await self.secret(INSTALLATION_SECRET, secrets.token_bytes(_SECRET_BYTES))
        if await self.secret(_FINGERPRINT, fingerprint(key)) != fingerprint(key):
            raise StoreProblem("The store was made with another secret key: its API keys and worker secrets cannot be read with this one.")
        self._seal = Seal(key)

    @abstractmethod
    def _connect(self) -> None:
        """Make the engines. Raises StoreProblem."""

    @abstractmethod
    async def _lock_schema(self, connection: AsyncConnection) -> None:
        """Keep other processes from migrating until the end of the transaction."""
