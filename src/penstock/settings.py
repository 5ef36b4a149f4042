"""The settings of a process: one frozen tree, read once at start; nothing else looks at the environment or a settings file.

Precedence: flags > environment > TOML file > defaults. In the environment a nested name is written with two underscores
(`PENSTOCK_ROUTING__EJECT_AFTER`), a list as JSON or with commas. `Settings()` alone is the defaults: only `load` looks around.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as EnvironmentProblem

from penstock.domain.principal import Pool

ENVIRONMENT_PREFIX = "PENSTOCK_"
CONFIG_VARIABLE = "PENSTOCK_CONFIG"
CONFIG_NAME = "penstock.toml"

KIB = 1024
MIB = 1024 * KIB


class SettingsError(Exception):
    """A setting is unknown or has a bad value; the message names the setting and where it came from."""


def _split(value: Any) -> Any:
    """A list from one text: JSON when it looks like it, else comma-separated."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"is not a JSON list: {error}") from error
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _http_url(value: str) -> str:
    """Without a trailing `/v1`: people copy addresses with it, and every path of ours adds it."""
    if value and not value.startswith(("http://", "https://")):
        raise ValueError(f"must begin with http:// or https://, not {value!r}")
    return value.rstrip("/").removesuffix("/v1")


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
LocalPath = Annotated[Path, AfterValidator(Path.expanduser)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class UpstreamSettings(_Section):
    """An OpenAI-compatible server that the gateway calls directly."""

    model: str = Field(default="", description="The model that it serves; empty: every model that it lists.")
    url: HttpUrl = Field(description="Its address, with or without `/v1`.")
    secret: SecretStr = Field(default=SecretStr(""), description="What it wants as a bearer token; empty: none.")
    slots: Count = Field(default=256, description="Requests that it may have at the same time.")
    pool: Pool | None = Field(default=None, description="Dedicate it to one pool; unset: shared by all.")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return parse_upstream(value) if isinstance(value, str) else value


def parse_upstream(text: str) -> dict[str, str]:
    """`MODEL=URL`, or `URL` alone for every model that the server lists. Raises ValueError.

    Model ids may contain almost anything and URLs may contain `=`, so the split is before the scheme.
    """
    model, separator, rest = text.partition("=http")
    if text.startswith(("http://", "https://")):
        return {"url": text}
    if not separator or not model or not rest.startswith(("://", "s://")):
        raise ValueError(f"must be MODEL=URL with an http:// or https:// URL, not {text!r}")
    return {"model": model, "url": "http" + rest}


Upstreams = Annotated[tuple[UpstreamSettings, ...], NoDecode, BeforeValidator(_split)]


class HttpSettings(_Section):
    """What the listening side accepts and how long it waits."""

    max_body_bytes: Count = Field(default=10 * MIB, description="Largest request body.")
    max_header_bytes: Count = Field(default=16 * KIB, description="Largest request head.")
    max_json_depth: Count = Field(default=64, description="Deepest nesting of a JSON body.")
    header_timeout_seconds: Seconds = Field(default=10, description="Time a client has to send its request head.")
    body_timeout_seconds: Seconds = Field(default=30, description="Time a client has to send its request body.")
    idle_timeout_seconds: Seconds = Field(default=75, description="An idle keep-alive connection is closed after this.")
    write_buffer_bytes: Count = Field(default=64 * KIB, description="Bytes that wait for a slow reader before its worker is paused.")
    drain_seconds: Seconds = Field(default=30, description="Time that running streams have to finish after SIGTERM.")


class AdmissionSettings(_Section):
    """Who may come in."""

    unauthenticated_per_minute: Count = Field(default=120, description="Requests a minute without a valid key, for one client address.")
    api_per_minute: Count = Field(default=1200, description="Control API requests a minute, for one client address.")
    store_grace_seconds: Seconds = Field(default=60, description="How long known keys stay valid while the store cannot be reached.")
    change_poll_seconds: Seconds = Field(default=0.5, description="How often a gateway asks the store what was edited.")
    default_max_tokens: Count = Field(default=512, description="Tokens reserved for a request that sets no limit itself.")
    idempotency_ttl_seconds: Seconds = Field(default=86400, description="How long an answer is kept for its Idempotency-Key.")
    idempotency_bytes: Count = Field(default=64 * MIB, description="Memory for the answers kept by Idempotency-Key.")


class SchedulingSettings(_Section):
    """Who waits, how long, and in which pool."""

    queue_limit: Count = Field(default=1024, description="Requests of one class that may wait for one model, within the class's bound.")
    max_wait_seconds: Seconds = Field(default=120, description="Longest wait in the queue, whatever the client's deadline.")
    keepalive_after_seconds: Seconds = Field(default=2, description="A queued stream gets its 200 and a first comment after this.")
    keepalive_every_seconds: Seconds = Field(default=15, description="Between keep-alive comments of a queued stream.")
    priority_reserve: Share = Field(default=0.1, description="Share of a model's slots that only the priority pool may use.")
    overflow_reserve: Share = Field(
        default=0.3, description="Share of a model's slots that must be idle before the overflow pool may use one."
    )


class RoutingSettings(_Section):
    """Which worker, and what is believed about its health."""

    suspect_seconds: Seconds = Field(default=10, description="A worker silent for this long gets no new requests.")
    dead_seconds: Seconds = Field(default=30, description="A worker silent for this long is given up.")
    hold_share: Share = Field(default=0.3, description="When more than this share of the workers vanishes together, the verdict is held.")
    eject_after: Count = Field(default=5, description="Consecutive failures that eject a worker.")
    eject_seconds: Seconds = Field(default=30, description="How long an ejected worker rests.")
    eject_share: Share = Field(default=0.1, description="Largest share of all workers that may be ejected at once (but always one).")
    retry_share: Share = Field(default=0.2, description="Retries on another worker, as a share of the requests.")
    retry_floor: Annotated[int, Field(ge=0)] = Field(
        default=3, description="Retries that are always allowed, however few requests there are."
    )


class UpstreamTimeouts(_Section):
    """How the gateway treats the servers that it calls."""

    connect_seconds: Seconds = Field(default=5, description="To open a connection.")
    first_byte_seconds: Seconds = Field(default=300, description="From the request sent to the first byte of the answer.")
    between_chunks_seconds: Seconds = Field(default=60, description="Between two pieces of a streamed answer.")
    connections_per_worker: Count = Field(default=512, description="Open connections to one worker.")
    probe_seconds: Seconds = Field(default=5, description="Between health probes of an upstream.")
    max_event_bytes: Count = Field(default=MIB, description="Largest single event of a stream.")


class UsageSettings(_Section):
    """The journal and the ledger."""

    journal_slots: Count = Field(default=4096, description="Requests in flight that the journal can hold.")
    flush_seconds: Seconds = Field(default=0.25, description="How often finished requests are written to the ledger.")


class LogSettings(_Section):
    """What is written to stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severity that is written.")
    format: Literal["json", "console", "auto"] = Field(default="auto", description="`auto`: console on a terminal, JSON elsewhere.")
    requests: bool = Field(default=False, description="Write a line for every inference request; costs about as much as serving it.")
    slow_request_seconds: Seconds = Field(default=30, description="A request slower than this is logged as a warning.")


class WorkerSettings(_Section):
    """One worker process (`penstock worker`)."""

    join: HttpUrl = Field(default="", description="Address of the gateway to join.")
    token: SecretStr = Field(default=SecretStr(""), description="Join token; needed the first time only.")
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


def _default_data_dir() -> Path:
    return platformdirs.user_data_path("penstock", appauthor=False)


class Settings(BaseSettings):
    """Everything that a process can be told from outside."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=8080, description="Port to listen on; 0: any free one.")
    data_dir: LocalPath = Field(default_factory=_default_data_dir, description="Where everything on disk lives.")
    store: str = Field(default="", description="`sqlite:///file` or `postgresql://...`; empty: penstock.db in the data directory.")
    secret_key: SecretStr = Field(
        default=SecretStr(""), description="Key under which API keys are hashed; empty: made once and kept in the store."
    )
    workers: Annotated[int, Field(ge=0, le=256)] | None = Field(
        default=None, description="Simulated workers that `up` starts; unset: 2, or 0 when models or upstreams are given."
    )
    models: Names = Field(default=(), description="Models (paths or hub ids) that `up` starts a worker for.")
    upstreams: Upstreams = Field(default=(), description="Servers that the gateway calls directly: MODEL=URL, or a JSON list of objects.")
    imports: Names = Field(default=(), description="Modules whose functions the runner may run.")
    discover: bool = Field(default=True, description="Look for inference servers on this machine.")
    discover_ports: Annotated[tuple[Port, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(11434, 8000, 1234), description="Loopback ports where they are looked for."
    )
    tls_cert: LocalPath | None = Field(default=None, description="Certificate chain (PEM); with tls_key, the gateway speaks HTTPS.")
    tls_key: LocalPath | None = Field(default=None, description="The certificate's private key (PEM).")
    cors_origins: Names = Field(default=(), description="Origins whose pages may call the APIs; empty: none.")
    profile: LocalPath | None = Field(
        default=None, description="File in which `up` writes the profile; unset: profiles.toml in the user's configuration."
    )

    http: HttpSettings = HttpSettings()
    admission: AdmissionSettings = AdmissionSettings()
    scheduling: SchedulingSettings = SchedulingSettings()
    routing: RoutingSettings = RoutingSettings()
    upstream: UpstreamTimeouts = UpstreamTimeouts()
    usage: UsageSettings = UsageSettings()
    log: LogSettings = LogSettings()
    worker: WorkerSettings = WorkerSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load` brings the layers together, so that it can say where a bad value came from."""
        return (init_settings,)

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_cert"
            raise ValueError(f"tls_cert and tls_key go together: {missing} is missing")
        for name, path in (("tls_cert", self.tls_cert), ("tls_key", self.tls_key)):
            if path is not None and not path.is_file():
                raise ValueError(f"{name}: there is no file {path}")
        return self

    @property
    def store_url(self) -> str:
        return self.store or f"sqlite:///{self.data_dir / 'penstock.db'}"

    @property
    def simulated_workers(self) -> int:
        """How many sim workers `up` starts."""
        if self.workers is not None:
            return self.workers
        return 0 if self.models or self.upstreams else 2


def load(flags: Mapping[str, Any], config: Path | None = None) -> Settings:
    """The settings of this process. `flags` is a (nested) mapping in which None means "not given".

    Raises SettingsError.
    """
    given = _without_none(flags)
    environment = _environment()
    path = _config_path(config, given, environment)
    file = _read_toml(path) if path else {}
    try:
        return Settings(**_merge(_merge(file, environment), given))
    except ValidationError as error:
        raise SettingsError(_explain(error, given, environment, file, path)) from error


def _environment() -> dict[str, Any]:
    try:
        return EnvSettingsSource(Settings)()
    except EnvironmentProblem as error:
        raise SettingsError(f"environment {ENVIRONMENT_PREFIX}*: {error}") from error


def _config_path(config: Path | None, *layers: Mapping[str, Any]) -> Path | None:
    """The TOML file to read: one that was named must exist, the one in the data directory may be absent."""
    named = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    if named:
        return named
    data_dir = next((layer["data_dir"] for layer in layers if layer.get("data_dir")), None) or _default_data_dir()
    default = Path(data_dir).expanduser() / CONFIG_NAME
    return default if default.is_file() else None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"settings file {path}: {error.strerror or error}") from error
    except ValueError as error:  # bad TOML or bad UTF-8
        raise SettingsError(f"settings file {path}: {error}") from error


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _without_none(value) if isinstance(value, Mapping) else value for name, value in values.items() if value is not None}


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`; sections are merged, everything else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _explain(
    error: ValidationError, flags: Mapping[str, Any], environment: Mapping[str, Any], file: Mapping[str, Any], path: Path | None
) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        where = tuple(problem["loc"])
        source = _source(where, flags, environment, file, path)
        message = "there is no such setting" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
        lines.append(f"{'.'.join(map(str, where))} ({source}): {message}" if where else message)
    return "; ".join(lines)


def _source(
    where: tuple[Any, ...], flags: Mapping[str, Any], environment: Mapping[str, Any], file: Mapping[str, Any], path: Path | None
) -> str:
    names = tuple(part for part in where if isinstance(part, str))
    if _has(flags, names):
        return "flag"
    if _has(environment, names):
        return f"environment {ENVIRONMENT_PREFIX}{'__'.join(names).upper()}"
    return f"file {path}" if _has(file, names) else "default"


def _has(layer: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    """True when the layer sets that name; a value that is not a section holds everything below it."""
    here: Any = layer
    for name in names:
        if not isinstance(here, Mapping):
            return True
        if name not in here:
            return False
        here = here[name]
    return True
