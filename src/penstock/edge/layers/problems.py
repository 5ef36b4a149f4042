"""From an exception to the answer that a caller reads: OpenAI's shape under `/v1`, problem+json (RFC 9457) everywhere else."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from penstock.domain.errors import (
    BadRequest,
    Internal,
    InvalidJson,
    MethodNotAllowed,
    NotFound,
    PenstockError,
    PortUnavailable,
    StoreUnavailable,
    TooLarge,
    Unprocessable,
)
from penstock.edge.layers.shapes import NOT_A_NUMBER
from penstock.wire.errors import error_body, error_headers

PROBLEM_TYPE = "application/problem+json"
STORE_RETRY_SECONDS = 2.0
_LONGEST_LIST = 20
_PLACES = ("body", "query", "path", "header")
_VALUE_ERROR = re.compile(r"^Value error, ")


class InvalidFields(Unprocessable):
    """Several fields at fault at once; `fields` are pairs of the field's name and what is wrong with it."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        name, sentence = fields[0]
        more = f" ({len(fields) - 1} more in `errors`)" if len(fields) > 1 else ""
        super().__init__(f"{name}: {sentence}{more}" if name else f"{sentence}{more}", param=name or None)
        self.fields = tuple(fields[:_LONGEST_LIST])


def is_openai_path(path: str) -> bool:
    return path == "/v1" or path.startswith("/v1/")


def answer(error: PenstockError, path: str, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """The whole answer for an error. `headers` are further ones, such as Allow."""
    if is_openai_path(path):
        response = Response(error_body(error), error.status, media_type="application/json")
    else:
        response = Response(msgspec.json.encode(problem(error, request_id)), error.status, media_type=PROBLEM_TYPE)
    for line in error_headers(error).decode("ascii").splitlines():
        name, _, value = line.partition(": ")
        response.headers[name] = value
    response.headers.update(headers or {})
    return response


def problem(error: PenstockError, request_id: str) -> dict[str, Any]:
    """RFC 9457's members, then ours: `code` is stable, `request_id` finds the request in the log."""
    members: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
    }
    if error.param is not None:
        members["param"] = error.param
    if isinstance(error, InvalidFields):
        members["errors"] = [{"param": name, "detail": sentence} for name, sentence in error.fields]
    return members


def as_error(exception: Exception, path: str) -> PenstockError:
    """What the caller may know of any exception: one of ours as it is, a framework's translated, anything else `internal_error`."""
    match exception:
        case PenstockError():
            return exception
        case PortUnavailable():
            return StoreUnavailable("The store cannot be reached; try again shortly.", retry_after_seconds=STORE_RETRY_SECONDS)
        case RequestValidationError():
            return _from_validation(exception, path)
        case HTTPException():
            return _from_status(exception.status_code, path)
    return Internal("Internal error; the gateway's log has this request id.")


def _from_status(status: int, path: str) -> PenstockError:
    match status:
        case 400:
            return InvalidJson("The request body cannot be read as JSON.")
        case 404:
            return NotFound(f"There is nothing at {printable(path)}.")
        case 405:
            return MethodNotAllowed("This path does not allow that method.")
        case 413:
            return TooLarge("The request body is too large.")
    return Internal("Internal error; the gateway's log has this request id.")


def printable(text: str, longest: int = 200) -> str:
    """A caller's text, safe to repeat to it: no control characters, not endless."""
    kept = "".join(char if char.isprintable() else "?" for char in text[:longest])
    return kept if len(text) <= longest else f"{kept}..."


def _from_validation(exception: RequestValidationError, path: str) -> PenstockError:
    errors: Sequence[Mapping[str, Any]] = exception.errors()
    if errors and errors[0]["type"] == "json_invalid":
        return InvalidJson("The request body is not valid JSON.")
    if errors and errors[0]["type"] == NOT_A_NUMBER:
        return InvalidJson("The request body is not valid JSON: it has NaN or Infinity, or a number that is too large.")
    fields = [_field(error) for error in errors] or [("", "The request is not valid.")]
    if is_openai_path(path):
        name, sentence = fields[0]
        return BadRequest(f"Invalid value for '{name}': {sentence}" if name else sentence, param=name or None)
    return InvalidFields(fields)


def _field(error: Mapping[str, Any]) -> tuple[str, str]:
    """The field's dotted name and a sentence. What the caller sent is not repeated: it may be a secret."""
    place = [str(part) for part in error["loc"]]
    name = printable(".".join(place[1:] if place and place[0] in _PLACES else place))
    match error["type"]:
        case "extra_forbidden":
            return name, "there is no such field."
        case "missing":
            return name, "the field is required." if name else "a JSON body is required."
        case "model_attributes_type" | "dict_type" if not name:
            return name, "The request body must be a JSON object, sent as application/json."
    return name, f"{_VALUE_ERROR.sub('', str(error['msg'])).rstrip('.')}."
