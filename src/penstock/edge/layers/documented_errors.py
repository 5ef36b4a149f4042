"""The errors that a route's documentation names."""

from http import HTTPStatus
from typing import Any

from penstock.edge.layers.problems import PROBLEM_TYPE

_ALWAYS = (401, 403, 429, 500, 503)
_MEANING = {
    400: "The request cannot be understood (for example its JSON).",
    401: "No key, or one that is unknown, expired or revoked.",
    403: "The key lacks the scope, or may not be used from this address.",
    404: "There is no such thing, or it belongs to another organisation.",
    409: "It is there already, or in a state that does not allow this.",
    413: "The body is larger than 10 MiB, or a file larger than it may be.",
    416: "No byte of the file is in that range.",
    422: "A field has a wrong value, is missing, or is unknown; `param` names it.",
    429: "Too many requests from this address; `Retry-After` says when to come back.",
    500: "Our mistake; the log has it under the request id.",
    502: "The upstream did not answer as an OpenAI-compatible server does.",
    503: "The store cannot be reached; `Retry-After` says when to come back.",
    507: "There is no space left on the disk for files.",
}

Documented = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Documented:
    """`responses=` for a route of the control API: the errors of every route, and `statuses`."""
    return {status: _document(status, PROBLEM_TYPE, "Problem") for status in sorted({*_ALWAYS, *statuses})}


def body_problems(*statuses: int) -> Documented:
    """The same for a route that takes a body."""
    return problems(400, 413, 422, *statuses)


def openai_errors(*statuses: int) -> Documented:
    """`responses=` for a route under `/v1`."""
    return {status: _document(status, "application/json", "OpenAIError") for status in sorted({*_ALWAYS, *statuses})}


def _document(status: int, media_type: str, schema: str) -> dict[str, Any]:
    meaning = _MEANING.get(status, HTTPStatus(status).phrase)
    return {"description": meaning, "content": {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}
