"""Server-sent events, as far as OpenAI-compatible servers use them."""

import re
from typing import Final

DONE = b"data: [DONE]\n\n"
KEEPALIVE = b": keepalive\n\n"
"""A comment: every parser skips it, every proxy sees traffic."""

EVENTS: Final = 0
UNKNOWN: Final = 1
WHOLE: Final = 2
OTHER: Final = 3
"""What an answer turns out to be: events, not to be told yet, one JSON object, neither."""
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
_LINE_END = re.compile(rb"\r\n|\r")


def normalise(text: bytes) -> bytes:
    """Line ends as `\\n`; the standard allows CRLF and CR too. Only for whole events: a CR at the very end is ambiguous."""
    return _LINE_END.sub(b"\n", text) if b"\r" in text else text


def event_data(event: bytes) -> bytes | None:
    """The `data` of one event (without its blank line): its data lines joined by newlines; None for a comment or a bare field."""
    parts = []
    for line in event.split(b"\n"):
        if line.startswith(b"data:"):
            value = line[5:]
            parts.append(value.removeprefix(b" "))
    return b"\n".join(parts) if parts else None


def form_of(begun: bytes) -> int:
    """What the beginning of an answer, which may be a few bytes, is the beginning of."""
    text = begun.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return WHOLE
    if text.startswith(_FIELDS):
        return EVENTS
    return UNKNOWN if any(field.startswith(text) for field in _FIELDS) else OTHER
