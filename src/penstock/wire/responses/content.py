"""What a choice of a chat completion says, whatever form its engine gives it: a text, a list of parts, arguments as an object."""

from typing import Any, Literal

import msgspec

Voice = Literal["think", "say", "refuse"]


def spoken(content: Any) -> list[tuple[Voice, str]]:
    """The texts of `content` in their order. Mistral's thinking models answer with parts of the types `thinking` and `text`."""
    if isinstance(content, str):
        return [("say", content)]
    found: list[tuple[Voice, str]] = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            found.append(("say", part))
        elif isinstance(part, dict):
            found += _part(part)
    return found


def _part(part: dict[str, Any]) -> list[tuple[Voice, str]]:
    kind = part.get("type")
    if kind in ("thinking", "reasoning", "reasoning_text", "summary_text"):
        inner = part.get("thinking", part.get("text", part.get("summary")))
        return [("think", text) for _, text in spoken(inner)]
    if kind == "refusal":
        return [("refuse", text)] if isinstance(text := part.get("refusal"), str) else []
    return [("say", text)] if isinstance(text := part.get("text"), str) else []


def arguments_of(function: dict[str, Any]) -> str:
    """The piece of a call's arguments, which some engines give as an object."""
    piece = function.get("arguments")
    if piece is None or isinstance(piece, str):
        return piece or ""
    return msgspec.json.encode(piece).decode()


def is_object(text: str) -> bool:
    """Whether these arguments are whole."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def whole_number(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
