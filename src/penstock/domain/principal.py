"""Who acts: the actor, the principal that it acts as, and the records of organisations, plans, users, keys and join tokens."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class ServiceClass(IntEnum):
    """Who waits behind whom: a smaller number has the greater share of a contended model."""

    SYSTEM = 0
    ENTERPRISE = 1
    PREMIUM = 2
    FREE = 3
    BATCH = 4


class Scope(StrEnum):
    """What a key may do."""

    INFERENCE = "inference"
    USAGE_READ = "usage:read"
    KEYS_WRITE = "keys:write"
    WORKERS_WRITE = "workers:write"
    TASKS_WRITE = "tasks:write"
    """Submit tasks of any kind, see and steer the organisation's tasks, queues and schedules."""
    ADMIN = "admin"
    """Everything above for every organisation, and the platform's own settings."""


class ServiceTier(StrEnum):
    """OpenAI's `service_tier` as a response names it."""

    DEFAULT = "default"
    PRIORITY = "priority"
    FLEX = "flex"
    SCALE = "scale"


class Pool(StrEnum):
    """Where a request may be placed. Not a queue: an eligibility rule for a request and a freed slot."""

    PRIORITY = "priority"
    STANDARD = "standard"
    OVERFLOW = "overflow"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a customer bought. The limits count for the whole organisation, whichever of its keys is used."""

    name: str
    service_class: ServiceClass
    default_tier: ServiceTier
    tiers: tuple[ServiceTier, ...]
    """The tiers that a request may ask for; another one is refused with 403."""
    requests_per_minute: int
    tokens_per_minute: int
    concurrency: int
    spill: bool = False
    """A request of the default tier may use another pool when its own is full."""
    downgrade: bool = True
    """A tier whose pool is full is served, and billed, as a lower one; otherwise it waits for its own."""
    file_bytes: int = 100 * 2**30
    """All files that an organisation uploads, together."""
    tasks: int = 5_000_000
    """The most tasks that it may have in the store when it submits more; ended ones count until they are deleted."""
    schedules: int = 10_000
    workers: int = 10_000
    """Workers and runners of its own, together."""


@dataclass(frozen=True, slots=True)
class Organisation:
    id: str
    name: str
    plan: str
    created_at: float
    disabled: bool = False
    own_models_first: bool = False
    """Its own workers serve its requests for a model that the platform serves too; the platform's are the fallback."""


@dataclass(frozen=True, slots=True)
class User:
    id: str
    org_id: str
    email: str
    password_hash: str = field(repr=False)
    """Argon2id in PHC form."""
    admin: bool
    created_at: float


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key as the store knows it: its secret only as a digest."""

    id: str
    org_id: str
    name: str
    digest: bytes = field(repr=False)
    """HMAC-SHA-256 of the whole key under the installation's secret."""
    hint: str
    """The first characters, so that people can tell their keys apart."""
    scopes: frozenset[Scope]
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    allowed_networks: tuple[str, ...] = ()
    """CIDR blocks that may use the key; empty: any address."""
    requests_per_minute: int | None = None
    """A limit of the key's own below its organisation's; None: only the organisation's."""
    tokens_per_minute: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class JoinToken:
    """Lets a worker (or runner) introduce itself; kept only as a digest, like a key."""

    id: str
    role: str
    """`worker`, `runner`, or `any` for the one that the first start makes."""
    digest: bytes = field(repr=False)
    hint: str
    org_id: str | None
    """None: the platform's own workers; otherwise they serve this organisation alone."""
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True)
class KeyActor:
    """An API key."""

    id: str


@dataclass(frozen=True, slots=True)
class UserActor:
    """A person who signed in."""

    id: str


@dataclass(frozen=True, slots=True)
class OrganisationActor:
    """The organisation itself: an administrator of the platform has acted in its name, and none of its keys or users has."""

    id: str


@dataclass(frozen=True, slots=True)
class SystemActor:
    """A process of the platform itself."""

    id: str


Actor = KeyActor | UserActor | OrganisationActor | SystemActor

_USER_PREFIX = "usr_"


def stored_id(actor: Actor) -> str:
    """An actor as the column `key_id` of tasks, schedules, batches and kept responses has it.

    The id; empty for an organisation, which has a column of its own. The ledger, decisions and limits have `Principal.actor_id` instead.
    """
    return "" if isinstance(actor, OrganisationActor) else actor.id


def stored_actor(org_id: str, stored: str) -> Actor:
    """The actor that `stored_id` has written beside this organisation."""
    if not stored:
        return OrganisationActor(org_id)
    return UserActor(stored) if stored.startswith(_USER_PREFIX) else KeyActor(stored)


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose behalf a request runs."""

    org_id: str
    actor: Actor
    plan: Plan
    scopes: frozenset[Scope]
    requests_per_minute: int | None = None
    """The key's own limit below its organisation's; None: only the organisation's."""
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    actor_id: str = field(init=False, compare=False, repr=False)
    """The actor's id: a plain attribute, because every request reads it. The ledger, decisions, limits and the API call it `key_id`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "actor_id", self.actor.id)

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes
