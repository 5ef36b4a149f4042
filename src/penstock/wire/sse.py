"""Server-sent events, as far as OpenAI-compatible servers use them."""

import re

DONE = b"data: [DONE]\n\n"
KEEPALIVE = b": keepalive\n\n"
"""A comment: every parser skips it, every proxy sees traffic."""

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
