"""The kinds of values that settings have, and what a section of them is."""

import json
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

from penstock.domain.inference import short_base

KIB = 1024
MIB = 1024 * KIB


def split(value: Any) -> Any:
    """A list from one text: JSON when it looks like it, else comma-separated.

    Raises ValueError for a text that looks like a JSON list and is not one.
    """
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"is not a JSON list: {error}") from error
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _http_url(value: str) -> str:
    """Without a trailing `/v1`, unless the path names another version: people copy addresses with it, and our paths add it."""
    if value and not value.startswith(("http://", "https://")):
        raise ValueError(f"must begin with http:// or https://, not {value!r}")
    return short_base(value)


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\*\.)?([a-z0-9._~-]+|\[[0-9a-f:.]+\])(:([0-9]{1,5}|\*))?")


def _origin(value: str) -> str:
    """As a browser writes it: lower case, and no slash at the end."""
    origin = value.strip().lower().removesuffix("/")
    if origin in ("*", "null") or _ORIGIN.fullmatch(origin):
        return origin
    raise ValueError(f"{value!r} is not an origin: write SCHEME://HOST or SCHEME://HOST:PORT without a path, or *")


def _network(value: str) -> str:
    try:
        return str(ip_network(value.strip(), strict=False))
    except ValueError:
        raise ValueError(f"{value!r} is not a network: write it as 10.0.0.0/8") from None


def _root_path(value: str) -> str:
    path = "/" + value.strip("/") if value.strip("/") else ""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", path):
        raise ValueError(f"must be a path such as /penstock, not {value!r}")
    return path


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(split)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(split)]
RootPath = Annotated[str, AfterValidator(_root_path)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
LocalPath = Annotated[Path, AfterValidator(Path.expanduser)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
