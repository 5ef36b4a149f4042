"""How an upstream wants to be called, as an operator writes it: checked before it becomes a part of any request."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from penstock.domain.workers import UpstreamAccess
from penstock.wire.fields import WHOLE, Body

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE: Final = re.compile(r"[!-~]([ -~]{0,8190}[!-~])?")
_QUERY: Final = re.compile(r'[!"$-~]{0,1024}')
_PATH: Final = re.compile(r'(/[!"$-~]{0,1023})?')
_PROXY: Final = re.compile(r"http://([!-.0-?A-~]{1,512}@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?/?")
_OURS: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "content-type",
        "accept-encoding",
        "x-request-id",
        "expect",
        "te",
        "upgrade",
    }
    | {"proxy-authorization", "keep-alive", "trailer"}
)
_MOST_HEADERS: Final = 32


def headers_of(given: Mapping[str, str]) -> dict[str, str]:
    """Raises ValueError, whose sentence does not repeat the value."""
    if len(given) > _MOST_HEADERS:
        raise ValueError(f"there may be {_MOST_HEADERS} headers at most")
    for name, value in given.items():
        if _NAME.fullmatch(name) is None:
            raise ValueError("the name of a header has a character that is not allowed there")
        if name.lower() in _OURS:
            raise ValueError(f"the header {name} is written by Penstock")
        if _VALUE.fullmatch(value) is None:
            raise ValueError(f"the value of the header {name} must be printable ASCII without spaces at its ends")
    if len({name.lower() for name in given}) < len(given):
        raise ValueError("a header is named twice")
    return dict(given)


def query_of(given: str) -> str:
    """Raises ValueError."""
    text = given.removeprefix("?")
    if _QUERY.fullmatch(text) is None:
        raise ValueError("a query is written NAME=VALUE&NAME=VALUE, percent-encoded")
    return text


def probe_path_of(given: str) -> str:
    """Raises ValueError."""
    if _PATH.fullmatch(given) is None:
        raise ValueError("a probe path begins with a slash, or is empty for no probe")
    return given


def proxy_of(given: str) -> str:
    """Raises ValueError, whose sentence does not repeat the address: it may contain credentials."""
    if given and _PROXY.fullmatch(given) is None:
        raise ValueError("a proxy is written http://[USER:PASSWORD@]HOST[:PORT]")
    return given.rstrip("/")


def pem_of(given: str) -> str:
    """Raises ValueError."""
    if given and "-----BEGIN " not in given:
        raise ValueError("this is not PEM")
    return given


def _documented(text: re.Pattern[str]) -> dict[str, Any]:
    """For a schema, which says in advance what the validator checks."""
    return {"pattern": f"^({text.pattern})$"}


Headers = Annotated[
    dict[str, str],
    Field(
        json_schema_extra={
            "maxProperties": _MOST_HEADERS,
            "propertyNames": _documented(_NAME),
            "additionalProperties": {"type": "string", **_documented(_VALUE)},
        }
    ),
    AfterValidator(headers_of),
]
Query = Annotated[str, Field(json_schema_extra=_documented(_QUERY)), AfterValidator(query_of)]
ProbePath = Annotated[str, Field(json_schema_extra=_documented(_PATH)), AfterValidator(probe_path_of)]
ProxyUrl = Annotated[str, Field(json_schema_extra={"pattern": f"^({_PROXY.pattern})?$"}), AfterValidator(proxy_of)]
Pem = Annotated[str, Field(max_length=256 * 1024), AfterValidator(pem_of)]
PerMinute = Annotated[int, Field(ge=1, le=1_000_000_000), WHOLE]


class AccessBody(Body):
    """In a change only the fields that are sent change."""

    query: Annotated[Query, Field(description="Sent with every call, for example `api-version=2024-10-21`.")] = ""
    headers: Annotated[Headers, Field(description="Sent with every call.")] = Field(default={})
    secret_headers: Annotated[Headers, Field(description="As `headers`; sealed in the store and never shown. For example `api-key`.")] = (
        Field(default={})
    )
    ca: Annotated[Pem, Field(description="PEM: authorities to trust beside the public ones.")] = ""
    client_certificate: Annotated[Pem, Field(description="PEM: presented to the upstream.")] = ""
    client_key: Annotated[Pem, Field(description="PEM: of the client certificate; sealed and never shown.")] = ""
    proxy: Annotated[ProxyUrl, Field(description="An HTTP proxy to go through: `http://[USER:PASSWORD@]HOST[:PORT]`; never shown.")] = ""
    probe_path: Annotated[
        ProbePath | None, Field(description="Asked for a sign of life; null: the list of models; empty: the upstream is never asked.")
    ] = None
    requests_per_minute: Annotated[PerMinute | None, Field(description="What the upstream allows each gateway.")] = None
    tokens_per_minute: Annotated[PerMinute | None, Field(description="What the upstream allows each gateway.")] = None
    normalise_reasoning: Annotated[
        bool,
        Field(description="Reasoning of chat completions goes to `reasoning_content`, whether it is `reasoning`, `thinking` or `<think>`."),
    ] = False

    def access(self, before: UpstreamAccess) -> UpstreamAccess:
        """`before` with the fields that were sent."""
        fields: dict[str, Any] = {name: getattr(before, name) for name in AccessBody.model_fields}
        for name in self.model_fields_set & AccessBody.model_fields.keys():
            value = getattr(self, name)
            fields[name] = tuple(value.items()) if isinstance(value, dict) else value
        return UpstreamAccess(**fields)
