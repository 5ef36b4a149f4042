"""Who is asking: organisation, key, plan, scopes; and the plans themselves."""

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
    """What a customer bought. The limits count for the whole organisation, concurrency for each key."""

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


@dataclass(frozen=True, slots=True)
class Organisation:
    id: str
    name: str
    plan: str
    created_at: float
    disabled: bool = False


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
class Principal:
    """On whose behalf a request runs."""

    org_id: str
    key_id: str
    plan: Plan
    scopes: frozenset[Scope]
    requests_per_minute: int | None = None
    """The key's own limit below its organisation's; None: only the organisation's."""
    tokens_per_minute: int | None = None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes
