"""A server that the gateway calls directly, as settings name it."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from penstock.app.settings.kinds import Count, HttpUrl, Section, split
from penstock.domain.principal import Pool


class UpstreamSettings(Section):
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


Upstreams = Annotated[tuple[UpstreamSettings, ...], NoDecode, BeforeValidator(split)]
