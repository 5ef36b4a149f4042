"""What is kept for good. Asynchronous; raises `PortUnavailable` when the database cannot be reached; awaited beside the traffic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.domain.models import ModelRecord
from penstock.domain.ports.decisions import DecisionLog
from penstock.domain.ports.policy import PolicyArchive
from penstock.domain.ports.stored_objects import StoredObjects
from penstock.domain.ports.tasks import TaskStore
from penstock.domain.principal import JoinToken, KeyRecord, Organisation, Plan, User
from penstock.domain.usage import UsageRecord, UsageRow
from penstock.domain.workers import WorkerLoad, WorkerRecord


class Accounts(Protocol):
    """Organisations, their people and keys, and the plans they are on."""

    async def first_start(
        self, plans: Sequence[Plan], organisation: Organisation, user: User, key: KeyRecord, join_token: JoinToken
    ) -> bool:
        """Write all of it in one transaction; False, and nothing is written, when there is an organisation already.

        Of two processes that start at the same time on an empty store, exactly one is first.
        """
        ...

    async def create_organisation(self, organisation: Organisation) -> None: ...
    async def organisation(self, org_id: str) -> Organisation | None: ...
    async def organisations(self) -> list[Organisation]: ...
    async def update_organisation(self, organisation: Organisation) -> bool:
        """False when there is none of that id."""
        ...

    async def create_user(self, user: User) -> None: ...
    async def user_by_email(self, email: str) -> User | None:
        """Compares without regard to case."""
        ...

    async def create_key(self, key: KeyRecord) -> None: ...
    async def key(self, key_id: str) -> KeyRecord | None: ...
    async def key_by_digest(self, digest: bytes) -> KeyRecord | None: ...
    async def keys(self, org_id: str | None = None) -> list[KeyRecord]:
        """Newest first; None: of every organisation."""
        ...

    async def revoke_key(self, key_id: str, at: float) -> bool:
        """False when there is none of that id; revoking twice keeps the first time."""
        ...

    async def plans(self) -> list[Plan]: ...
    async def save_plan(self, plan: Plan) -> None: ...

    async def create_join_token(self, token: JoinToken) -> None: ...
    async def join_token_by_digest(self, digest: bytes) -> JoinToken | None: ...
    async def join_tokens(self) -> list[JoinToken]: ...
    async def revoke_join_token(self, token_id: str, at: float) -> bool: ...


class Catalogue(Protocol):
    async def models(self) -> list[ModelRecord]: ...
    async def save_model(self, model: ModelRecord) -> None: ...
    async def remove_model(self, model_id: str) -> bool: ...


class WorkerRegistry(Protocol):
    async def save_worker(self, worker: WorkerRecord) -> None:
        """Insert, or replace the one of that id."""
        ...

    async def worker(self, worker_id: str) -> WorkerRecord | None: ...
    async def worker_by_public_key(self, public_key: bytes) -> WorkerRecord | None: ...
    async def workers(self) -> list[WorkerRecord]: ...
    async def remove_worker(self, worker_id: str) -> bool: ...
    async def beat(self, worker_id: str, load: WorkerLoad, at: float) -> bool:
        """Note a heartbeat; not a change that other gateways are told of. False: no such worker."""
        ...


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which ledger records to sum, and by what. Times are Unix seconds, `since` included, `until` excluded."""

    org_id: str | None = None
    key_id: str | None = None
    model: str | None = None
    since: float | None = None
    until: float | None = None
    group_by: tuple[str, ...] = ("model",)
    """Of: org, key, model, tier, class, day."""
    limit: int = 1000


class UsageIntake(Protocol):
    async def append(self, batch_id: str, records: Sequence[UsageRecord]) -> bool:
        """Write all in one transaction; False, and nothing is written, when a batch of that id is there already.

        This is what counts a request once: whoever cannot know whether a batch arrived gives it again, unchanged, under its id.
        Ids are remembered for a week.
        """
        ...


class Ledger(UsageIntake, Protocol):
    async def report(self, query: UsageQuery) -> list[UsageRow]:
        """The sums by group, largest cost first, then most requests."""
        ...

    async def records(self, query: UsageQuery, after: str | None = None) -> list[UsageRecord]:
        """Single records, newest first, `query.limit` at most; `after` is the request id where the last page ended."""
        ...

    async def record(self, request_id: str) -> UsageRecord | None: ...


@dataclass(frozen=True, slots=True)
class Changes:
    """What was edited since a version: pairs of kind (organisation, plan, policy, key, model, worker, join_token) and id.

    The id `*` means every subject of that kind: the version was too old for the store to tell one by one.
    """

    version: int
    subjects: frozenset[tuple[str, str]]


class ChangeFeed(Protocol):
    async def changes_since(self, version: int) -> Changes:
        """Cheap enough to ask a few times a second; versions rise in commit order and never skip a committed change."""
        ...


class Store(Accounts, Catalogue, PolicyArchive, WorkerRegistry, StoredObjects, DecisionLog, Ledger, ChangeFeed, Protocol):
    """One database that is all of them. Constructing does nothing; `open` connects."""

    @property
    def tasks(self) -> TaskStore:
        """The durable task queue in the same database."""
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


class StoreProblem(Exception):
    """The store cannot be opened, and waiting will not help; the message says what to do."""


class SchemaOutdated(StoreProblem):
    pass


class StoreLocked(StoreProblem):
    pass
