"""An answer that is not a success, as one typed value, whichever shape it has: problem+json (`/api`) or OpenAI's (`/v1`)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.domain.errors import PenstockError


@dataclass(frozen=True, slots=True)
class Refusal:
    error: PenstockError
    status: int
    code: str
    """As the gateway said it; empty: it said none."""
    request_id: str


def read_refusal(status: int, headers: Mapping[str, str], content: bytes) -> Refusal:
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    return refusal_of_fields(status, headers, body if isinstance(body, dict) else {})


def refusal_of_fields(status: int, headers: Mapping[str, str], body: Mapping[str, Any]) -> Refusal:
    """As `read_refusal`, for a decoded body; also for the error event of a stream, whose status is its code's own."""
    inner = body.get("error")
    fields: Mapping[str, Any] = inner if isinstance(inner, dict) else body
    code = str(fields.get("code") or "")
    kind = _error_class(code, status)
    message = fields.get("message") or fields.get("detail") or fields.get("title")
    error = kind(
        str(message or f"the gateway answered HTTP {status}"),
        param=fields.get("param"),
        retry_after_seconds=retry_after_seconds(headers),
        retry={"true": True, "false": False}.get(headers.get("x-should-retry", "")),
    )
    request_id = str(fields.get("request_id") or headers.get("x-request-id", ""))
    return Refusal(error, status or kind.status, code, request_id)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """From `retry-after-ms`, else from `retry-after` in seconds; None when neither is a number."""
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) / divisor)
        except (KeyError, ValueError):
            continue
    return None


def _error_class(code: str, status: int) -> type[PenstockError]:
    """The class with that code, else the first of that status, else the root of the tree."""
    tree = list(_family(PenstockError))
    by_code = [kind for kind in tree if kind.code == code and (not status or kind.status == status)]
    by_status = [kind for kind in tree if kind.status == status]
    return (by_code or by_status or [PenstockError])[0]


def _family(kind: type[PenstockError]) -> Iterator[type[PenstockError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _family(child)
