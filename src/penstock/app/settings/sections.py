"""The sections of the tree, one class each: what can be set for a room or a process."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from penstock.app.settings.kinds import KIB, MIB, Count, HttpUrl, LocalPath, Names, Networks, Port, RootPath, Seconds, Section, Share
from penstock.domain.principal import Pool

StreamTopic = Annotated[str, Field(max_length=249, pattern=r"^[A-Za-z0-9_.*>$/-]*$")]


class HttpSettings(Section):
    """What the listening side accepts and how long it waits."""

    max_body_bytes: Count = Field(default=10 * MIB, description="Largest request body.")
    max_header_bytes: Count = Field(default=16 * KIB, description="Largest request head.")
    max_json_depth: Count = Field(default=64, description="Deepest nesting of a JSON body.")
    header_timeout_seconds: Seconds = Field(default=10, description="Time a client has to send its request head.")
    body_timeout_seconds: Seconds = Field(default=30, description="Time a client has to send its request body.")
    idle_timeout_seconds: Seconds = Field(default=75, description="An idle keep-alive connection is closed after this.")
    write_buffer_bytes: Count = Field(default=64 * KIB, description="Bytes that wait for a slow reader before its worker is paused.")
    drain_seconds: Seconds = Field(default=30, description="Time that running streams have to finish after SIGTERM.")
    trusted_proxies: Networks = Field(
        default=(), description="Networks (CIDR blocks) of your own proxies, which say whose request they pass on; empty: none."
    )
    client_address_from: Literal["x-forwarded-for", "forwarded", "proxy-protocol"] = Field(
        default="x-forwarded-for",
        description="Where trusted proxies write the client's address: a header, or the PROXY protocol version 2 before each connection.",
    )
    root_path: RootPath = Field(default="", description="Path under which a proxy serves this gateway, such as /penstock; empty: none.")
    max_connections: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Open connections of clients; 0: what the limit of open files leaves."
    )
    max_connections_per_address: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Open connections of one client address, except of trusted proxies; 0: half of all."
    )


class AdmissionSettings(Section):
    """Who may come in."""

    unauthenticated_per_minute: Count = Field(default=120, description="Requests a minute without a valid key, for one client address.")
    sign_ins_per_minute: Count = Field(default=20, description="Failed sign-ins a minute of one user, from all addresses together.")
    api_per_minute: Count = Field(default=1200, description="Control API requests a minute, for one client address.")
    body_bytes_per_minute: Count = Field(
        default=128 * MIB,
        description="Bytes a minute that an organisation may send in bodies over 64 KiB; or 1 MiB for each request a minute of its plan.",
    )
    store_grace_seconds: Seconds = Field(default=60, description="How long known keys stay valid while the store cannot be reached.")
    change_poll_seconds: Seconds = Field(default=0.25, description="How often a gateway asks the store what was edited.")
    default_max_tokens: Count = Field(default=512, description="Tokens reserved for a request that sets no limit itself.")
    idempotency_ttl_seconds: Seconds = Field(default=86400, description="How long an answer is kept for its Idempotency-Key.")
    idempotency_bytes: Count = Field(default=64 * MIB, description="Memory for the answers kept by Idempotency-Key.")


class SchedulingSettings(Section):
    """Who waits, how long, and in which pool."""

    queue_limit: Count = Field(default=1024, description="Requests of one class that may wait for one model, within the class's bound.")
    max_wait_seconds: Seconds = Field(default=120, description="Longest wait in the queue, also when the client would wait longer.")
    keepalive_after_seconds: Seconds = Field(default=2, description="A queued stream gets its 200 and a first comment after this.")
    keepalive_every_seconds: Seconds = Field(default=15, description="Between keep-alive comments of a queued stream.")
    priority_reserve: Share = Field(default=0.1, description="Share of a model's slots that only the priority pool may use.")
    overflow_reserve: Share = Field(
        default=0.3, description="Share of a model's slots that must be idle before the overflow pool may use one."
    )


class RoutingSettings(Section):
    """Which worker is chosen, and when one is unhealthy."""

    suspect_seconds: Seconds = Field(default=10, description="A worker silent for this long gets no new requests.")
    dead_seconds: Seconds = Field(default=30, description="A worker silent for this long is dead: its requests are failed over.")
    forget_seconds: Seconds = Field(
        default=7 * 24 * 3600, description="A worker silent for this long is removed, and needs a join token to come back."
    )
    hold_share: Share = Field(
        default=0.3, description="When more than this share of the workers falls silent together, none of them is declared dead."
    )
    eject_after: Count = Field(default=5, description="Consecutive failures that eject a worker.")
    eject_seconds: Seconds = Field(default=30, description="How long an ejected worker gets no requests, the first time.")
    eject_share: Share = Field(default=0.1, description="Largest share of all workers that may be ejected at once (but always one).")
    retry_share: Share = Field(default=0.2, description="Retries on another worker, as a share of the requests.")
    retry_floor: Annotated[int, Field(ge=0)] = Field(
        default=3, description="Retries that are always allowed, however few requests there are."
    )
    worker_networks: Networks = Field(
        default=(),
        description="Private networks (CIDR blocks) in which workers of organisations may be; the platform's own may be anywhere.",
    )
    policy: str = Field(
        default="power_of_two",
        description="How a worker is chosen: power_of_two, least_outstanding_tokens, prefix_affinity, least_requests or round_robin.",
    )
    shadow_policy: str = Field(default="", description="A second policy that decides too and is only recorded; empty: none.")
    policies: dict[str, str] = Field(default_factory=dict, description="Another policy for some models: a table from model to policy.")
    shadow_policies: dict[str, str] = Field(
        default_factory=dict, description="Another shadow policy for some models: a table from model to policy."
    )
    adaptive_limits: bool = Field(
        default=True, description="Give a worker that becomes slow fewer requests at the same time than its slots."
    )
    slow_start_seconds: Annotated[float, Field(ge=0)] = Field(
        default=10, description="A worker that comes back gets its full share after this; 0: at once."
    )


class UpstreamTimeouts(Section):
    """How the gateway treats the servers that it calls."""

    connect_seconds: Seconds = Field(default=5, description="To open a connection.")
    first_byte_seconds: Seconds = Field(default=300, description="From the request sent to the first byte of the answer.")
    between_chunks_seconds: Seconds = Field(default=60, description="Between two pieces of a streamed answer.")
    connections_per_worker: Count = Field(default=512, description="Open connections to one worker.")
    probe_seconds: Seconds = Field(default=5, description="Between health probes of an upstream.")
    max_event_bytes: Count = Field(default=16 * MIB, description="Largest single event of a stream that is passed on.")


class ExplainSettings(Section):
    """What is kept of where requests went, and why."""

    memory_bytes: Annotated[int, Field(ge=4 * KIB)] = Field(
        default=8 * MIB, description="Memory for the latest decisions; 8 MiB hold about 2,000."
    )
    sample_share: Share = Field(
        default=0.01, description="Share of the decisions that is kept in the store; refused, retried and slow ones come first."
    )
    most_per_second: Annotated[int, Field(ge=0)] = Field(
        default=20, description="Decisions that go to the store in a second, at most; 0: none."
    )
    keep_seconds: Seconds = Field(default=7 * 24 * 3600, description="How long the store keeps them.")


class UsageSettings(Section):
    """The journal and the ledger."""

    journal_slots: Count = Field(default=4096, description="Requests in flight that the journal can hold.")
    flush_seconds: Seconds = Field(default=0.25, description="Finished requests are written to the ledger this often, many of them sooner.")


class FilesSettings(Section):
    """Files that organisations store here: batch files, uploads, answers."""

    directory: LocalPath | None = Field(
        default=None, description="Directory of their contents; gateways of one store share it. Unset: `files` in the data directory."
    )
    max_bytes: Count = Field(default=200 * MIB, description="Largest file.")
    max_organisation_bytes: Count = Field(default=100 * 1024 * MIB, description="All files that an organisation uploads, together.")


class ChaosSettings(Section):
    """`penstock up --chaos`: faults in the workers that it started."""

    on: bool = Field(default=False, description="Kill, freeze, slow or corrupt a worker now and then. Never on a platform that matters.")
    every_seconds: Seconds = Field(default=10, description="Mean time between two faults.")
    seed: int | None = Field(default=None, description="The same seed makes the same faults in the same order; unset: any.")


class LogSettings(Section):
    """What is written to stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severity that is written.")
    format: Literal["json", "console", "auto"] = Field(default="auto", description="`auto`: console on a terminal, JSON elsewhere.")
    requests: bool = Field(default=False, description="Write a line for every inference request; costs about as much as serving it.")
    slow_request_seconds: Seconds = Field(default=30, description="A request slower than this is logged as a warning.")


class RunnerSettings(Section):
    """What executes tasks: `penstock runner`, and the runner inside `penstock up`."""

    join: HttpUrl = Field(default="", description="Address of the gateway to join.")
    token: SecretStr = Field(default=SecretStr(""), description="Join token for runners.")
    ca_file: LocalPath | None = Field(default=None, description="PEM file with further authorities, for a gateway with a private one.")
    store: str = Field(default="", description="Instead of joining a gateway: the PostgreSQL store to work on directly.")
    name: str = Field(default="", description="Name that people see; empty: the machine's name.")
    queues: Names = Field(default=(), description="Queues to serve, as NAME or NAME=SLOTS; empty: all of them.")
    slots: Count = Field(default=32, description="Inferences and webhooks that run at the same time.")
    processes: Count = Field(default=4, description="Functions that run at the same time, each in a process of its own.")
    import_seconds: Seconds = Field(default=120, description="Time that the start of a process for functions may take, imports included.")
    max_tasks_per_child: Annotated[int, Field(ge=0)] = Field(
        default=0, description="After so many functions their process is replaced by a new one; 0: never."
    )
    child_memory_mb: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Memory (MiB) that a process for functions may allocate, on Linux; 0: no limit."
    )
    log_bytes: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=65_536, description="Of what a function prints in one attempt, so many bytes are kept; 0: nothing."
    )
    prefetch: Annotated[int, Field(ge=0, le=1000)] = Field(default=500, description="Short tasks that may be fetched ahead of a free slot.")
    webhook_networks: Networks = Field(default=(), description="Private networks (CIDR blocks) to which webhooks may go.")
    state_dir: LocalPath | None = Field(default=None, description="Where the runner keeps its identity; unset: in the data directory.")
    drain_seconds: Seconds = Field(default=30, description="Time that running tasks have to finish after SIGTERM.")


class StreamSettings(Section):
    """`penstock stream`: records of a broker become tasks, and their results are published."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")] = Field(
        default="penstock",
        description="Name of the stream, and of its group of readers; its tasks have the tag `stream:NAME`.",
    )
    broker: str = Field(default="", description="kafka or nats.")
    servers: Names = Field(default=(), description="Addresses of the broker, such as 127.0.0.1:9092 or nats://127.0.0.1:4222.")
    options: dict[str, str] = Field(
        default_factory=dict, description="Options of the broker's client, such as `security.protocol` (Kafka) or `user` (NATS)."
    )
    source: StreamTopic = Field(default="", description="Topic or subject whose records become tasks; empty: none.")
    results: StreamTopic = Field(default="", description="Topic or subject to which the ends of the stream's tasks go; empty: nowhere.")
    dead_letter: StreamTopic = Field(
        default="", description="Topic or subject for records that can never become a task; empty: the first one stops the process."
    )
    records: Literal["payload", "task"] = Field(
        default="payload", description="What a record is: the payload of a task, or a whole task with the fields of `POST /api/tasks`."
    )
    kind: Literal["function", "inference", "webhook"] = Field(default="function", description="Kind of the tasks.")
    function: Annotated[str, Field(max_length=200)] = Field(
        default="", description="Name of the tasks; for functions the name that one is registered under."
    )
    queue: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?$")] = Field(
        default="", description="Queue of the tasks; empty: as the kind or the function says."
    )
    priority: Annotated[int, Field(ge=1, le=10)] | None = Field(
        default=None, description="1 to 10, 10 is the most urgent; unset: as the kind or the function says."
    )
    tags: Annotated[Names, Field(max_length=10)] = Field(default=(), description="Further tags of the tasks.")
    max_attempts: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Attempts at each task; unset: as the kind or the function says."
    )
    timeout_seconds: Annotated[float, Field(gt=0, le=7 * 86_400)] | None = Field(
        default=None, description="For one attempt; unset: as the kind or the function says."
    )
    keep_seconds: Annotated[float, Field(ge=3600)] | None = Field(
        default=None, description="Tasks are deleted that long after their end; a record that is delivered again after that is a new task."
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(default=4, description="Submissions at the same time.")
    batch: Annotated[int, Field(ge=1, le=10_000)] = Field(default=200, description="Records of one submission.")
    in_flight: Annotated[int, Field(ge=1, le=20_000)] = Field(default=2_000, description="Records that are fetched and not acknowledged.")
    look_seconds: Seconds = Field(default=1, description="Time between two searches for tasks that have ended.")
    overlap_seconds: Annotated[float, Field(ge=10, le=3600)] = Field(
        default=60, description="How late the end of a task may become visible and still be published."
    )
    state_dir: LocalPath | None = Field(
        default=None, description="Where the stream notes what was published; unset: `streams/NAME` in the data directory."
    )
    drain_seconds: Seconds = Field(default=30, description="Time to finish the records that were fetched, after SIGTERM.")
    metrics_port: Port = Field(default=0, description="Loopback port for `/metrics`; 0: none.")


class WorkerSettings(Section):
    """One worker process (`penstock worker`)."""

    join: HttpUrl = Field(default="", description="Address of the gateway to join.")
    token: SecretStr = Field(default=SecretStr(""), description="Join token; needed the first time only.")
    ca_file: LocalPath | None = Field(default=None, description="PEM file with further authorities, for a gateway with a private one.")
    pin_file: LocalPath | None = Field(
        default=None, description="PEM file with the one certificate that the gateway may present, whatever its name; `up` sets it."
    )
    name: str = Field(default="", description="Name that people see; empty: host name and engine.")
    engine: str = Field(default="sim", description="Engine that makes the tokens.")
    model: str = Field(
        default="", description="Model to serve: a path or hub id, as the engine understands it; empty: the engine's own choice."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=0, description="Port to listen on; 0: any free one.")
    slots: Annotated[int, Field(ge=0)] = Field(default=0, description="Requests served at the same time; 0: the engine's own number.")
    pool: Pool | None = Field(default=None, description="Dedicate this worker to one pool; unset: shared by all.")
    state_dir: LocalPath | None = Field(default=None, description="Where the worker keeps its identity; unset: in the data directory.")
    upstream_url: HttpUrl = Field(default="", description="For the engine `openai`: the server to call.")
    upstream_secret: SecretStr = Field(default=SecretStr(""), description="For the engine `openai`: its bearer token.")
    advertise: HttpUrl = Field(default="", description="URL that gateways dial; empty: made from host and port.")
