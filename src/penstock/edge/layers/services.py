"""What the control API needs of the rest: ports, handed over by `app`."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from penstock.accounts.service import AccountService
from penstock.catalog.policies import Policies
from penstock.domain.clock import Clock
from penstock.domain.durable.leases import RunnerRecord
from penstock.domain.models import ModelRecord
from penstock.domain.ports import Inference, RecentDecisions, Store
from penstock.domain.principal import Principal
from penstock.domain.workers import ModelOffer, WorkerLoad, WorkerRecord, WorkerState
from penstock.durable.batches.service import BatchService
from penstock.durable.files.service import FileService
from penstock.durable.responses.service import ResponseService
from penstock.durable.tasks.services import TaskServices
from penstock.edge.layers.signatures import UsedSignatures
from penstock.net.reach import Reach
from penstock.observe.metrics import GatewayMetrics
from penstock.serving.explain.ring import DecisionRing
from penstock.serving.explain.view import RingView


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """A worker as this gateway sees it now."""

    id: str
    state: WorkerState
    load: WorkerLoad
    in_flight: int
    """Requests that this gateway has at the worker."""
    outstanding_tokens: int
    ejected_until: float | None = None
    """Unix seconds; None: not ejected."""
    limit: int | None = None
    """Requests that it gets at the same time: its slots, or fewer; None: not known here."""
    since: float = 0.0
    """Unix seconds of its latest change of state."""
    reports: bool = False
    """It has reported to a gateway since its state changed, and not long ago."""
    error: str = ""
    """Why this gateway could not connect to it the last time; empty: it could."""
    resting_until: float | None = None
    """Unix seconds; None: its rate limit allows requests, as far as we know."""
    record: WorkerRecord | None = None
    """As this gateway has it; workers of its settings are in no store."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that a request could use now."""

    record: ModelRecord
    """Its entry in the catalogue, or a made one for a model that has none."""
    workers: int
    """How many could serve it."""
    context_length: int | None = None
    capabilities: tuple[str, ...] = ()


class WorkerDirectory(Protocol):
    """The workers as this gateway sees them. Plain calls on what is in memory; only a probe goes out."""

    def snapshot(self) -> Sequence[LiveWorker]: ...

    def is_held(self, worker_id: str) -> bool:
        """Whether it is not called because the installation was restored from a backup."""
        ...

    def models(self, org_id: str | None) -> Sequence[ServedModel]:
        """What this organisation may use, by model id; None: what anyone may."""
        ...

    def queues(self, sees: Collection[str] = ()) -> Mapping[str, int]:
        """Waiting requests by model."""
        ...

    def in_flight(self) -> int: ...

    def worker_joined(self, record: WorkerRecord) -> None:
        """A new worker, or a changed record of one that is there: this gateway need not wait for the change feed."""
        ...

    def worker_left(self, worker_id: str) -> None: ...

    def beat(self, worker_id: str, load: WorkerLoad, draining: bool) -> str:
        """`draining`: the worker itself is about to stop. Returns why this gateway cannot connect to it; empty: it can."""
        ...

    async def log_tail(self, record: WorkerRecord, lines: int) -> Sequence[str]:
        """The last lines of the log of a worker's engine. Raises NotFound where there is none, and UpstreamFailed."""
        ...

    async def probe_upstream(self, upstream: WorkerRecord) -> Sequence[ModelOffer]:
        """The models that an upstream lists. Raises UpstreamFailed with a sentence for the operator; follows no redirect."""
        ...


class Limiter(Protocol):
    """Requests a minute of one client address, over all keys that it uses."""

    def check(self, address: str, authenticated: bool) -> None:
        """Count one request. Raises RateLimited."""
        ...


class Entrance(Protocol):
    """The limits of a caller's plan, asked before a body is read."""

    def enter(self, principal: Principal) -> None:
        """An inference counts as a request. Raises RateLimited."""
        ...

    def headers(self, principal: Principal) -> Mapping[str, str]:
        """Where its limits stand, as headers of an answer."""
        ...

    def leave(self, principal: Principal) -> None:
        """It goes to the pipeline next, which counts it: it is one request."""
        ...

    def count_bytes(self, principal: Principal, body_bytes: int) -> None:
        """Raises RateLimited."""
        ...


class Readiness(Protocol):
    def problems(self) -> list[str]:
        """Why this gateway should get no traffic, in words that name no host or path; empty: it is ready."""
        ...

    def shortcomings(self) -> list[str]:
        """What is not as configured although the gateway serves, in words that name no tenant's own models."""
        ...


Authenticate = Callable[[str | None, str], Awaitable[Principal]]
"""(`Authorization` header, client address) -> who it is. Raises Unauthenticated, PermissionDenied, StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class ControlServices:
    """Everything behind the control API. `next_request_id` takes the wall clock's seconds."""

    store: Store
    accounts: AccountService
    inference: Inference
    files: FileService
    batches: BatchService
    responses: ResponseService
    tasks: TaskServices
    workers: WorkerDirectory
    authenticate: Authenticate
    limiter: Limiter
    readiness: Readiness
    metrics: GatewayMetrics
    clock: Clock
    new_id: Callable[[str], str]
    next_request_id: Callable[[float], str]
    uptime: Callable[[], float]
    """Seconds since this gateway started."""
    version: str
    cors_origins: tuple[str, ...] = ()
    entrance: Entrance | None = None
    """None: the pipeline alone counts."""
    max_body_bytes: int = 10 * 1024 * 1024
    max_json_depth: int = 64
    log_calls: bool = True
    """Write a line for every call that succeeded, too."""
    slow_request_seconds: float = 30.0
    heartbeat_seconds: float = 5.0
    metrics_token: str = ""
    """With which `/metrics` can be read from elsewhere; empty: with an administrator's key only."""
    tenant_reach: Reach = field(default_factory=Reach)
    """Where workers of organisations may be."""
    decisions: RecentDecisions = field(default_factory=lambda: RingView(DecisionRing(0)))
    used_signatures: UsedSignatures = field(default_factory=UsedSignatures)
    known_runners: dict[str, tuple[float, RunnerRecord]] = field(default_factory=dict)
    """Until when (monotonic) each is believed to be as it was read."""

    @property
    def policies(self) -> Policies:
        return Policies(self.store.policies, self.store.accounts, self.clock)
