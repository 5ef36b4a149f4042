"""What an engine says when it could not answer: one reading of the many shapes in which servers put an error.

OpenAI's `{"error": {...}}`; `{"object": "error", "message"}` (vLLM before 0.9); `{"detail": "..."}` and its list (FastAPI);
`{"errors": [...]}`; `{"base_resp": {...}}` (MiniMax); `{"message", "code"}`.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

_LONGEST_MESSAGE: Final = 1000
_LONGEST_PARAM: Final = 256
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_CUT: Final = {
    name: re.compile(rb'"%b"\s*:\s*("(?:[^"\\\x00-\x1f]|\\.){1,4000}"?)' % name.encode())
    for name in ("message", "detail", "type", "code", "param")
}
"""Fields of an answer that is too long to be read whole, so that it is no JSON."""
_BESIDE_A_MESSAGE: Final = ("code", "type", "status", "statusCode", "status_code", "object")


@dataclass(frozen=True, slots=True)
class EngineSaid:
    """Empty: it did not say."""

    message: str = ""
    type: str = ""
    code: str = ""
    param: str = ""
    status: int = 0
    """An HTTP status that the body names, as answers with status 200 do."""


def read_error(body: bytes) -> EngineSaid:
    """Never raises: what cannot be read says nothing. The message has at most 1,000 characters."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_cut(body)
    return _said(fields)


def is_error(fields: Any) -> bool:
    """Whether an object without choices, data and usage tells of a failure."""
    if not isinstance(fields, dict):
        return False
    if fields.get("error") or fields.get("errors") or fields.get("detail") or "error" in (fields.get("object"), fields.get("type")):
        return True
    if isinstance(fields.get("message"), str) and any(fields.get(name) for name in _BESIDE_A_MESSAGE):
        return True
    base = fields.get("base_resp")
    return isinstance(base, dict) and bool(base.get("status_code"))


def _said(fields: Any) -> EngineSaid:
    if not isinstance(fields, dict):
        return EngineSaid()
    inner = fields.get("error") or fields.get("errors") or fields.get("base_resp") or fields.get("detail") or fields
    where = ""
    if isinstance(inner, list):
        inner, where = _first_of(inner)
    if isinstance(inner, str):
        return EngineSaid(inner[:_LONGEST_MESSAGE], _name(fields.get("type")), _name(fields.get("code")), "", _status(fields))
    if not isinstance(inner, dict):
        inner = fields
    message = next((inner[name] for name in ("message", "msg", "detail", "status_msg") if isinstance(inner.get(name), str)), "")
    if where:
        message = f"{where}: {message}"
    param = inner.get("param") if isinstance(inner.get("param"), str) else where
    return EngineSaid(
        message[:_LONGEST_MESSAGE],
        _name(inner.get("type")),
        _name(inner.get("code")),
        (param or "")[:_LONGEST_PARAM],
        _status(inner) or _status(fields),
    )


def _first_of(errors: list[Any]) -> tuple[Any, str]:
    """The first of a list of errors that has a sentence, without its type; and where it is, when it is one of FastAPI's."""
    for one in errors:
        if isinstance(one, str):
            return one, ""
        if isinstance(one, dict) and isinstance(one.get("msg"), str):
            place = one.get("loc")
            return {"msg": one["msg"]}, _place(place) if isinstance(place, list) else ""
        if isinstance(one, dict):
            return one, ""
    return None, ""


def _place(parts: list[Any]) -> str:
    """`["body", "messages", 0, "name"]` as `messages[0].name`."""
    place = ""
    for part in parts[1:] if parts[:1] == ["body"] else parts:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    return place.lstrip(".")[:_LONGEST_PARAM]


def _name(value: Any) -> str:
    return value if isinstance(value, str) and _NAME.fullmatch(value) else ""


def _status(fields: dict[str, Any]) -> int:
    for name in ("code", "status", "status_code", "statusCode"):
        value = fields.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
            value = int(value)
        if type(value) is int and 400 <= value < 600:
            return value
    return 0


def _read_cut(body: bytes) -> EngineSaid:
    """The fields of an object of which only the beginning is there."""
    if not body.lstrip().startswith(b"{"):
        return EngineSaid()
    found: dict[str, str] = {}
    for name, pattern in _CUT.items():
        match = pattern.search(body)
        if match is None:
            continue
        text = match[1] if match[1].endswith(b'"') and len(match[1]) > 1 else match[1].rstrip(b"\\") + b'"'
        try:
            found[name] = msgspec.json.decode(text, type=str)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    message = found.get("message") or found.get("detail") or ""
    return EngineSaid(
        message[:_LONGEST_MESSAGE],
        _name(found.get("type")),
        _name(found.get("code")),
        found.get("param", "")[:_LONGEST_PARAM],
    )
