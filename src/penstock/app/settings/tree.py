"""The tree itself."""

from pathlib import Path
from typing import Annotated, Self

import platformdirs
from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from penstock.app.settings.kinds import LocalPath, Names, Origins, Port, split
from penstock.app.settings.sections import (
    AdmissionSettings,
    ChaosSettings,
    ExplainSettings,
    FilesSettings,
    HttpSettings,
    LogSettings,
    RoutingSettings,
    RunnerSettings,
    SchedulingSettings,
    StreamSettings,
    UpstreamTimeouts,
    UsageSettings,
    WorkerSettings,
)
from penstock.app.settings.upstream import Upstreams

ENVIRONMENT_PREFIX = "PENSTOCK_"


def default_data_dir() -> Path:
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

    metrics_token: SecretStr = Field(
        default=SecretStr(""),
        description="Bearer token with which /metrics can be read from other machines; empty: with an administrator's key only.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=8080, description="Port to listen on; 0: any free one.")
    data_dir: LocalPath = Field(default_factory=default_data_dir, description="Where everything on disk lives.")
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
    discover_ports: Annotated[tuple[Port, ...], NoDecode, BeforeValidator(split)] = Field(
        default=(11434, 8000, 1234), description="Loopback ports where they are looked for."
    )
    tls_cert: LocalPath | None = Field(default=None, description="Certificate chain (PEM); with tls_key, the gateway speaks HTTPS.")
    tls_key: LocalPath | None = Field(default=None, description="The certificate's private key (PEM).")
    cors_origins: Origins = Field(
        default=(), description="Origins whose pages may call the APIs, such as https://app.example.org; * for all of them; empty: none."
    )
    profile: LocalPath | None = Field(
        default=None, description="File in which `up` writes the profile; unset: profiles.toml in the user's configuration."
    )
    profile_name: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?$")] = Field(
        default="", description="Name of that profile; empty: `default` for the default data directory, else the directory's name."
    )

    hold: bool = Field(
        default=False, description="Look, and touch nothing: call no stored worker or upstream, and run no tasks, batches or schedules."
    )

    http: HttpSettings = HttpSettings()
    admission: AdmissionSettings = AdmissionSettings()
    scheduling: SchedulingSettings = SchedulingSettings()
    routing: RoutingSettings = RoutingSettings()
    upstream: UpstreamTimeouts = UpstreamTimeouts()
    usage: UsageSettings = UsageSettings()
    explain: ExplainSettings = ExplainSettings()
    files: FilesSettings = FilesSettings()
    log: LogSettings = LogSettings()
    chaos: ChaosSettings = ChaosSettings()
    worker: WorkerSettings = WorkerSettings()
    runner: RunnerSettings = RunnerSettings()
    stream: StreamSettings = StreamSettings()

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

    @model_validator(mode="after")
    def _proxy_protocol_is_usable(self) -> Self:
        if self.http.client_address_from == "proxy-protocol" and self.http.trusted_proxies and self.tls_cert is not None:
            raise ValueError("http.client_address_from: proxy-protocol needs a proxy that ends TLS, so that tls_cert must be empty")
        return self

    @property
    def store_url(self) -> str:
        return self.store or f"sqlite:///{self.data_dir / 'penstock.db'}"

    @property
    def hold_file(self) -> Path:
        """Is there in an installation that was restored and not yet released."""
        return self.data_dir / "held"

    @property
    def held(self) -> bool:
        return self.hold or self.hold_file.exists()

    @property
    def simulated_workers(self) -> int:
        """How many sim workers `up` starts."""
        if self.workers is not None:
            return self.workers
        return 0 if self.models or self.upstreams else 2
