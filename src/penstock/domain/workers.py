"""Workers: what makes tokens, in which state it is, what it reports."""

from dataclasses import dataclass, field
from enum import StrEnum


class WorkerState(StrEnum):
    """The gateway's own view of a worker; each gateway has its own."""

    JOINING = "joining"
    """Registered; this gateway has not yet reached it."""
    READY = "ready"
    """Answers; gets requests."""
    SUSPECT = "suspect"
    """Silent for longer than a heartbeat should take, or its connection broke: no new requests."""
    DRAINING = "draining"
    """Asked to stop: finishes what it has, gets nothing new."""
    DEAD = "dead"
    """Silent for so long that what it held is given up; serves again as soon as it answers."""


LEGAL_MOVES: dict[WorkerState, frozenset[WorkerState]] = {
    WorkerState.JOINING: frozenset({WorkerState.READY, WorkerState.DRAINING, WorkerState.DEAD}),
    WorkerState.READY: frozenset({WorkerState.SUSPECT, WorkerState.DRAINING, WorkerState.DEAD}),
    WorkerState.SUSPECT: frozenset({WorkerState.READY, WorkerState.DRAINING, WorkerState.DEAD}),
    WorkerState.DRAINING: frozenset({WorkerState.READY, WorkerState.DEAD}),
    WorkerState.DEAD: frozenset({WorkerState.READY, WorkerState.DRAINING, WorkerState.SUSPECT}),
}


class ShownState(StrEnum):
    """The state of a worker as an operator sees it: the gateway's view, with what the worker itself said."""

    JOINING = "joining"
    """It has joined; the gateway has not reached it yet."""
    READY = "ready"
    """Answers; gets requests."""
    SUSPECT = "suspect"
    """Silent, or its connection broke: no new requests."""
    DRAINING = "draining"
    """Finishes what it has, gets nothing new."""
    STOPPED = "stopped"
    """It said goodbye. It serves again when it is started."""
    LOST = "lost"
    """Silent for so long that what it held was given up. It serves again as soon as it answers."""
    UNREACHABLE = "unreachable"
    """It lives, but this gateway cannot connect to its address; or an upstream does not answer."""
    HELD = "held"
    """Stored in an installation that was restored from a backup: not called before the installation is released."""


class WorkerKind(StrEnum):
    WORKER = "worker"
    """Our own process beside an accelerator; joined with a token, has an identity."""
    UPSTREAM = "upstream"
    """An OpenAI-compatible server of others that the gateway calls directly."""


@dataclass(frozen=True, slots=True)
class ModelOffer:
    """A model as one worker serves it."""

    id: str
    """As clients name it."""
    engine_name: str = ""
    """As the engine names it; empty: the same."""
    context_length: int | None = None
    capabilities: tuple[str, ...] = ()
    """Of: chat, completions, embeddings, tools, json_schema, logprobs, vision."""


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """What an engine says of itself, normalised."""

    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    """Used share of the KV cache, 0 to 1."""
    ttft_seconds: float | None = None
    """A recent mean time to first token, when the engine reports one."""


@dataclass(frozen=True, slots=True)
class UpstreamAccess:
    """How an upstream wants to be called, beyond its address and a bearer secret; the defaults add nothing."""

    query: str = ""
    """Sent with every call, without the question mark."""
    headers: tuple[tuple[str, str], ...] = ()
    secret_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """As `headers`, and never shown."""
    ca: str = ""
    """PEM: authorities to trust beside the public ones."""
    client_certificate: str = ""
    """PEM: presented to the upstream."""
    client_key: str = field(default="", repr=False)
    """PEM: of the client certificate."""
    proxy: str = field(default="", repr=False)
    """An HTTP proxy to go through; may contain credentials."""
    probe_path: str | None = None
    """Asked for a sign of life; None: the list of models; empty: it is never asked and taken to be well."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """What the upstream allows this gateway; None: no limit is known."""
    normalise_reasoning: bool = False
    """Its chat completions get their reasoning under one name; False: they pass as they are."""

    @property
    def all_headers(self) -> tuple[tuple[str, str], ...]:
        return self.headers + self.secret_headers

    @property
    def replaces_bearer(self) -> bool:
        """It brings an `authorization` of its own."""
        return any(name.lower() == "authorization" for name, _ in self.all_headers)


PLAIN_ACCESS = UpstreamAccess()


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker or upstream as the store keeps it."""

    id: str
    name: str
    kind: WorkerKind
    engine: str
    base_url: str
    """Without `/v1` at its end, unless its path names a version; `domain/inference.py` adds the operation's path."""
    models: tuple[ModelOffer, ...]
    slots: int
    """Requests that it serves at the same time."""
    pool: str | None = None
    """Dedicated to one pool; None: shared by all."""
    org_id: str | None = None
    """Serves this organisation alone; None: every one."""
    secret: str = field(default="", repr=False)
    """What a gateway presents when it dials the worker (`Authorization: Bearer`)."""
    access: UpstreamAccess = PLAIN_ACCESS
    public_key: bytes = b""
    """Ed25519, raw 32 bytes; empty for an upstream."""
    draining: bool = False
    version: str = ""
    joined_at: float = 0.0
    last_seen_at: float = 0.0
    """The last heartbeat that a gateway received (Unix seconds)."""
    load: WorkerLoad = field(default_factory=WorkerLoad)
    token_id: str = ""
    """The join token that introduced it; empty: unknown, or an upstream."""
    left_at: float = 0.0
    """When it stopped and said so (Unix seconds); 0: it has not left."""
    host: str = ""
    """Name of its machine, as it says; empty for an upstream."""
