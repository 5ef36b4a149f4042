"""What is kept for good, as one value.

Asynchronous; raises `PortUnavailable` when the database cannot be reached; awaited beside the traffic.
"""

from typing import Protocol

from penstock.domain.clock import Clock
from penstock.domain.ports.accounts import AccountStore
from penstock.domain.ports.batches import BatchStore
from penstock.domain.ports.catalog import ModelStore
from penstock.domain.ports.changes import ChangeFeed
from penstock.domain.ports.decisions import DecisionStore
from penstock.domain.ports.files import FileStore
from penstock.domain.ports.ledger import UsageLedger
from penstock.domain.ports.policies import PolicyStore
from penstock.domain.ports.responses import ResponseStore
from penstock.domain.ports.tasks import TaskStore
from penstock.domain.ports.workers import WorkerStore


class Store(Protocol):
    """One database, and one part for each area of it. Constructing does nothing; `open` connects."""

    @property
    def accounts(self) -> AccountStore:
        """Organisations, users, keys, plans, join tokens."""
        ...

    @property
    def catalog(self) -> ModelStore:
        """Models and their prices."""
        ...

    @property
    def policies(self) -> PolicyStore:
        """The versions of the policy."""
        ...

    @property
    def workers(self) -> WorkerStore:
        """Workers and upstreams."""
        ...

    @property
    def files(self) -> FileStore:
        """Records of files."""
        ...

    @property
    def batches(self) -> BatchStore:
        """OpenAI's batches."""
        ...

    @property
    def responses(self) -> ResponseStore:
        """Stored responses."""
        ...

    @property
    def decisions(self) -> DecisionStore:
        """Why requests went where they went: a sample."""
        ...

    @property
    def ledger(self) -> UsageLedger:
        """What was used, and what it cost."""
        ...

    @property
    def changes(self) -> ChangeFeed:
        """What was edited since a version."""
        ...

    @property
    def tasks(self) -> TaskStore:
        """The durable task queue."""
        ...

    async def open(self, *, migrate: bool = False) -> None:
        """Connect; with `migrate`, first bring the schema up to date under a lock.

        Raises SchemaOutdated (the message names the command) when the schema is older or newer than this code, StoreLocked when
        another process owns the SQLite file.
        """
        ...

    async def check(self) -> None:
        """One trivial round trip, for readiness. Raises PortUnavailable."""
        ...

    async def close(self) -> None: ...

    async def secret(self, name: str, candidate: bytes) -> bytes:
        """The installation's secret of that name: the stored one, or `candidate`, which is then stored (first come wins)."""
        ...


class StoreFactory(Protocol):
    """`MEMBER` of the family `stores`."""

    def __call__(self, url: str, /, *, secret_key: bytes | None = None, clock: Clock | None = None) -> Store:
        """Not yet open. `make_store` explains the arguments. Raises StoreProblem."""
        ...


class StoreProblem(Exception):
    """The store cannot be opened, and waiting will not help; the message says what to do."""


class SchemaOutdated(StoreProblem):
    """The schema is older or newer than this code."""


class StoreLocked(StoreProblem):
    """Another process owns the SQLite file."""
