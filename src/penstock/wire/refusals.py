"""What an engine's error answer means for the caller: its own mistake, or a reason to ask another worker."""

import msgspec

from penstock.domain.errors import BadRequest, ContextLengthExceeded, PenstockError, TooLarge, UnsupportedParameter
from penstock.wire.chat.replies import error_message

_CODES: dict[str, type[PenstockError]] = {
    "context_length_exceeded": ContextLengthExceeded,
    "unsupported_parameter": UnsupportedParameter,
}

_CONTEXT = ("context length", "context size")
"""How vLLM and SGLang, and how llama.cpp call it; they have no code for it."""


def callers_mistake(status: int, body: bytes) -> PenstockError | None:
    """The error to pass on when the request itself is at fault (400, 413, 422); None: the worker is."""
    if status not in (400, 413, 422):
        return None
    message = error_message(body) or "The engine refused the request."
    if status == 413:
        return TooLarge(message)
    code, param = _details(body)
    if code not in _CODES and any(words in message.lower() for words in _CONTEXT):
        code = "context_length_exceeded"
    return _CODES.get(code, BadRequest)(message, param=param)


def _details(body: bytes) -> tuple[str, str | None]:
    try:
        error = msgspec.json.decode(body)["error"]
        code, param = error.get("code"), error.get("param")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, AttributeError):
        return "", None
    return code if isinstance(code, str) else "", param if isinstance(param, str) else None
