"""What an engine's error answer means for the caller: its own mistake, or a reason to ask another worker."""

import time
from email.utils import parsedate_to_datetime
from typing import Final

from penstock.domain.errors import (
    BadRequest,
    ContextLengthExceeded,
    EngineRefusal,
    ModelNotFound,
    PenstockError,
    TooLarge,
    UnsupportedParameter,
    UpstreamFailed,
)
from penstock.wire.chat.engine_errors import EngineSaid, read_error

_CODES: Final[dict[str, type[PenstockError]]] = {
    "context_length_exceeded": ContextLengthExceeded,
    "unsupported_parameter": UnsupportedParameter,
}
_CALLERS: Final = frozenset({400, 403, 404, 410, 413, 422, 451})
"""Statuses that may be the caller's mistake; all others tell of the worker, its account or its network."""
_CONTEXT: Final = (
    "context length",
    "context size",
    "context window",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "exceeds the maximum number of tokens",
)
"""How engines say it that have no code for it."""
_FILTERED: Final = ("content_filter", "content_policy", "content policy", "content management policy", "moderation", "flagged")
_TYPES: Final = frozenset({"badrequesterror", "invalid_request_error", "invalidrequesterror", "validation_error", "content_policy"})
"""Types of an error that is the caller's, where no status says so."""
_NO_PATH: Final = frozenset({"not found", "404 page not found", "404: not found"})
"""How web servers answer for a path that they do not have: the address of the worker is wrong, not the request."""
_UNTOLD: Final = "The engine refused the request."
_LONGEST_REST_SECONDS: Final = 3600.0


def callers_mistake(status: int, body: bytes) -> PenstockError | None:
    """The error to pass on when the request itself is at fault; None: the worker is."""
    if status not in _CALLERS:
        return None
    said = read_error(body)
    if status == 413:
        return TooLarge(said.message or _UNTOLD)
    if status == 403 and not _is_filtered(said):
        return None
    if status in (404, 410):
        return _not_found(said)
    code = said.code
    if code not in _CODES and _is_context(said):
        code = "context_length_exceeded"
    if (known := _CODES.get(code)) is not None:
        return known(said.message or _UNTOLD, param=said.param or None)
    shown = 400 if status == 422 else status
    if shown == 400 and not said.code and not said.type:
        return BadRequest(said.message or _UNTOLD, param=said.param or None)
    return EngineRefusal(said.message or _UNTOLD, status=shown, kind=said.type, code=code, param=said.param or None)


def inner_status(body: bytes) -> int:
    """The status that an error stands for which came as an answer with status 200, or inside a stream."""
    said = read_error(body)
    if said.status:
        return said.status
    mine = said.code in _CODES or said.type.lower() in _TYPES or _is_context(said) or _is_filtered(said)
    return 400 if mine else 500


def too_large(what: str, largest_bytes: int) -> PenstockError:
    """An answer that is not passed on; another worker's would be as large."""
    return UpstreamFailed(f"{what} is larger than {largest_bytes} bytes, the most that is passed on.", retry=False)


def wanted_rest(headers: list[tuple[bytes, bytes]]) -> float | None:
    """How many seconds a refusal asks to wait, an hour at most; None: it does not say."""
    found = None
    for name, value in headers:
        if name == b"retry-after-ms":
            found = _number(value, 1000.0)
            if found is not None:
                break
        elif name == b"retry-after":
            found = _number(value, 1.0)
            if found is None:
                found = _until(value)
    return None if found is None else min(max(found, 0.0), _LONGEST_REST_SECONDS)


def _number(value: bytes, unit: float) -> float | None:
    try:
        found = float(value.decode("ascii")) / unit
    except ValueError:
        return None
    return found if found == found else None  # not a NaN


def _until(value: bytes) -> float | None:
    """Seconds until an HTTP date."""
    try:
        return parsedate_to_datetime(value.decode("ascii")).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None


def _not_found(said: EngineSaid) -> PenstockError | None:
    words = said.message.lower().rstrip(".")
    if not words or words in _NO_PATH or words.startswith(("there is nothing at", "invalid url")):
        return None
    if said.code == "model_not_found" or ("model" in words and ("not found" in words or "does not exist" in words)):
        return ModelNotFound(said.message, param="model")
    return EngineRefusal(said.message, status=404, kind=said.type, code=said.code or "not_found", param=said.param or None)


def _is_context(said: EngineSaid) -> bool:
    words = said.message.lower()
    return any(known in words for known in _CONTEXT)


def _is_filtered(said: EngineSaid) -> bool:
    words = f"{said.code} {said.type} {said.message}".lower()
    return any(known in words for known in _FILTERED)
