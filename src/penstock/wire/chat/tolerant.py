"""JSON that is not quite: half of a surrogate pair as an escape, `NaN`. Only for what the strict decoder has refused."""

import json
from typing import Any

import msgspec

Halves = dict[str, str]
"""By place in an event, the first half of a pair with which a text ended: a server that counts UTF-16 units cut it there."""


def reread(data: bytes, halves: Halves | None = None) -> bytes | None:
    """The same JSON as the strict decoder takes it; None: it is no JSON object.

    A half at the end of a text waits in `halves` for the text that brings the other one; any other half becomes U+FFFD.
    """
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_null)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    try:
        return msgspec.json.encode(_repaired(value, "", halves))
    except (RecursionError, OverflowError, ValueError, TypeError):
        return None


def _null(_name: str) -> None:
    return None


def _repaired(value: Any, place: str, halves: Halves | None) -> Any:
    if isinstance(value, str):
        return _text(value, place, halves)
    if isinstance(value, list):
        return [_repaired(one, f"{place}/{at}", halves) for at, one in enumerate(value)]
    if isinstance(value, dict):
        return {_text(name, "", None): _repaired(one, f"{place}/{name}", halves) for name, one in value.items()}
    return value


def _text(text: str, place: str, halves: Halves | None) -> str:
    if halves is not None:
        first = halves.pop(place, "")
        if first and "\udc00" <= text[:1] <= "\udfff":
            text = first + text
        elif first:
            text = "\ufffd" + text
        if "\ud800" <= text[-1:] <= "\udbff":
            halves[place] = text[-1:]
            text = text[:-1]
    if text.isascii():
        return text
    # Two halves that follow each other are the character; what is left alone is nothing.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
