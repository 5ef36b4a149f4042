"""One SQL database and the areas of a store on it; what differs between databases is in the members."""

import secrets

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from penstock.domain.ports import (
    AccountStore,
    BatchStore,
    ChangeFeed,
    DecisionStore,
    FileStore,
    ModelStore,
    PolicyStore,
    ResponseStore,
    StoreProblem,
    UsageLedger,
    WorkerStore,
)
from penstock.storage.stores import _migration as migration
from penstock.storage.stores import _schema as schema
from penstock.storage.stores.accounts.queries import SqlAccounts
from penstock.storage.stores.batches.queries import SqlBatches
from penstock.storage.stores.catalog.queries import SqlModels
from penstock.storage.stores.decisions.queries import SqlDecisions
from penstock.storage.stores.files.queries import SqlFiles
from penstock.storage.stores.ledger.queries import RecordStorage, SqlLedger
from penstock.storage.stores.policies.queries import SqlPolicies
from penstock.storage.stores.responses.queries import SqlResponses
from penstock.storage.stores.sql import tables
from penstock.storage.stores.sql.changes import SqlChangeFeed
from penstock.storage.stores.sql.database import Database
from penstock.storage.stores.sql.sealing import Seal, fingerprint
from penstock.storage.stores.tasks.store import SqlTasks
from penstock.storage.stores.workers.queries import SqlWorkers

INSTALLATION_SECRET = "installation"  # noqa: S105 - the name of one, not a secret
_FINGERPRINT = "secret-key-fingerprint"
_SECRET_BYTES = 32


class SqlStore:
    """Implements `Store`. `secret_key` seals what must be read again; None: the installation's secret, kept in the store itself."""

    def __init__(self, database: Database, records: RecordStorage, tasks: SqlTasks, *, secret_key: bytes | None = None) -> None:
        self.database = database
        self._secret_key = secret_key
        self._seal = Seal()
        self.accounts: AccountStore = SqlAccounts(database)
        self.batches: BatchStore = SqlBatches(database)
        self.catalog: ModelStore = SqlModels(database)
        self.changes: ChangeFeed = SqlChangeFeed(database)
        self.decisions: DecisionStore = SqlDecisions(database)
        self.files: FileStore = SqlFiles(database)
        self.ledger: UsageLedger = SqlLedger(database, records)
        self.policies: PolicyStore = SqlPolicies(database)
        self.responses: ResponseStore = SqlResponses(database)
        self.tasks = tasks
        self.workers: WorkerStore = SqlWorkers(database, self._seal)

    async def open(self, *, migrate: bool = False) -> None:
        """Connect. Raises SchemaOutdated, StoreLocked, StoreProblem when the secret key is not this store's, PortUnavailable."""
        self.database.connect()
        try:
            await self._ensure_schema(migrate)
            await self._unlock_secrets()
        except (DBAPIError, self.database.driver_errors) as error:
            await self.close()
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise StoreProblem(f"The store is damaged, or not one of Penstock ({reason}). Restore a backup.") from error
        except BaseException:
            await self.close()
            raise

    async def check(self) -> None:
        await self.database.row(select(tables.change_counter.c.version))

    async def close(self) -> None:
        await self.tasks.close()
        self._seal.lock()
        await self.database.close()

    async def secret(self, name: str, candidate: bytes) -> bytes:
        async with self.database.write() as connection:
            await connection.execute(self.database.insert(tables.secret).values(name=name, value=candidate).on_conflict_do_nothing())
            stored = await connection.execute(select(tables.secret.c.value).where(tables.secret.c.name == name))
            return bytes(stored.scalar_one())

    async def schema_version(self) -> str:
        """The newest migration that was applied; empty for an empty database."""
        async with self.database.read() as connection:
            return await connection.run_sync(migration.version)

    async def _ensure_schema(self, migrate: bool) -> None:
        found = await self.schema_version()
        if found == schema.SCHEMA_VERSION:
            return
        if not migrate or found > schema.SCHEMA_VERSION:
            raise migration.problem(found)
        async with self.database.migration() as connection:
            await connection.run_sync(migration.bring_up_to_date)

    async def _unlock_secrets(self) -> None:
        key = self._secret_key or await self.secret(INSTALLATION_SECRET, secrets.token_bytes(_SECRET_BYTES))
        if await self.secret(_FINGERPRINT, fingerprint(key)) != fingerprint(key):
            raise StoreProblem("The store was made with another secret key: its API keys and worker secrets cannot be read with this one.")
        self._seal.unlock(key)
