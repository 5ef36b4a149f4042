"""A server that the gateway calls directly, as settings name it."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from penstock.app.settings.kinds import Count, HttpUrl, LocalPath, Names, Section, split
from penstock.domain.principal import Pool
from penstock.wire.upstream_access import Headers, ProbePath, Query, headers_of, proxy_of


def _secret_headers(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    headers_of({name: secret.get_secret_value() for name, secret in value.items()})
    return value


def _proxy(value: SecretStr) -> SecretStr:
    proxy_of(value.get_secret_value())
    return value


class UpstreamSettings(Section):
    """An OpenAI-compatible server that the gateway calls directly."""

    model: str = Field(default="", description="The model that it serves; empty: every model that it lists.")
    models: Names = Field(default=(), description="The models that it serves, named by hand; it need not list them then.")
    url: HttpUrl = Field(
        description="Its address, with or without `/v1`. A path that names a version (`/api/v3`, `/v1beta/openai`) is taken as it is."
    )
    query: Query = Field(default="", description="Sent with every call, for example `api-version=2024-10-21`.")
    secret: SecretStr = Field(default=SecretStr(""), description="What it wants as a bearer token; empty: none.")
    headers: Headers = Field(default={}, description="Further headers, sent with every call.")
    secret_headers: Annotated[dict[str, SecretStr], AfterValidator(_secret_headers)] = Field(
        default={}, description="As `headers`, and never shown or logged; for example `api-key`."
    )
    ca_file: LocalPath | None = Field(default=None, description="PEM file with further authorities, for a server with a private one.")
    client_cert_file: LocalPath | None = Field(default=None, description="PEM file with a certificate to present to the server.")
    client_key_file: LocalPath | None = Field(default=None, description="PEM file with the key of the client certificate.")
    proxy: Annotated[SecretStr, AfterValidator(_proxy)] = Field(
        default=SecretStr(""), description="HTTP proxy to go through: `http://[USER:PASSWORD@]HOST[:PORT]`."
    )
    probe_path: ProbePath | None = Field(
        default=None, description="Path that is asked for a sign of life; unset: the list of models; empty: none is asked."
    )
    slots: Count = Field(default=256, description="Requests that it may have at the same time.")
    requests_per_minute: Count | None = Field(default=None, description="What the server allows each gateway.")
    tokens_per_minute: Count | None = Field(default=None, description="What the server allows each gateway.")
    normalise_reasoning: bool = Field(
        default=False,
        description="Reasoning of chat completions goes to `reasoning_content`, whether it is `reasoning`, `thinking` or `<think>`.",
    )
    pool: Pool | None = Field(default=None, description="Dedicate it to one pool; unset: shared by all.")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        fields = parse_upstream(value) if isinstance(value, str) else value
        if isinstance(fields, dict) and isinstance(fields.get("url"), str) and "?" in fields["url"] and not fields.get("query"):
            url, _, query = fields["url"].partition("?")
            fields = {**fields, "url": url, "query": query}
        return fields

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.probe_path is not None and not self.named:
            raise ValueError("an upstream with a probe path of its own, or none, needs its models named")
        if self.client_key_file is not None and self.client_cert_file is None:
            raise ValueError("client_key_file needs client_cert_file")
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """The models that were named by hand."""
        return tuple(dict.fromkeys(((self.model,) if self.model else ()) + self.models))


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


Upstreams = Annotated[tuple[UpstreamSettings, ...], NoDecode, BeforeValidator(split)]
