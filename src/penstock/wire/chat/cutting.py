"""Where an answer ends that is longer than the client allowed: with the finish reason `length`, as an engine should have ended it."""

from typing import Any, Final

import msgspec

from penstock.wire.chat.counting import message_bytes, overrun, text_bytes
from penstock.wire.chat.requests import BYTES_PER_TOKEN

_ORDER: Final = ("reasoning_content", "reasoning", "thinking", "content", "text", "refusal", "tool_calls", "function_call")
"""Where text stands, in the order in which it is made."""


def cut_text(text: str, room: int) -> str:
    """The beginning of a text that has so many bytes, in whole characters."""
    return text.encode("utf-8", "surrogatepass")[:room].decode("utf-8", "ignore")


def cut_holder(holder: dict[str, Any], room: int) -> tuple[int, bool]:
    """Cut a message, a delta or a legacy choice to so many bytes of text; returns how many it has, and whether it was longer."""
    room = max(0, room)
    left, was_longer = room, False
    for name in _ORDER:
        value = holder.get(name)
        size = text_bytes(value)
        if size > left:
            was_longer = True
            if isinstance(value, str):
                holder[name] = cut_text(value, left)
                size = text_bytes(holder[name])
            else:
                del holder[name]
                size = 0
        left -= size
    return room - left, was_longer


def cut_choice(choice: dict[str, Any], room: int) -> int:
    """Cut a choice of a whole answer; returns the bytes of text that it has."""
    message = choice.get("message")
    size, was_longer = cut_holder(message if isinstance(message, dict) else choice, room)
    if was_longer:
        choice["finish_reason"] = "length"
    return size


def cut_stream(out: bytes, pieces: int, size: int, limit: int, begun: set[object], ended: set[object]) -> tuple[bytes, int, int]:
    """Events as they would go out, `pieces` and `size` with them: those that fit and the end of each choice; and what fits."""
    events = [msgspec.json.decode(event[6:]) for event in out.split(b"\n\n") if event]
    texts = [sum([_text(choice) for choice in event.get("choices") or ()]) for event in events]
    pieces -= sum([1 for text in texts if text])
    size -= sum(texts)
    kept: list[dict[str, Any]] = []
    last: dict[str, Any] = {}
    for event, text in zip(events, texts, strict=True):
        last = event
        if text and overrun(pieces + 1, size + text, limit):
            room = BYTES_PER_TOKEN * limit - size
            for choice in event["choices"]:
                used, _ = cut_holder(_holder(choice), room)
                room, size = room - used, size + used
                choice["finish_reason"] = None
            if any(_text(choice) for choice in event["choices"]):
                kept.append(event)
                pieces += 1
            break
        kept.append(event)
        pieces += 1 if text else 0
        size += text
    kept += [_end(last, index) for index in sorted(begun - _ended_in(kept, ended, events), key=str)]
    return b"".join(b"data: %b\n\n" % msgspec.json.encode(event) for event in kept), pieces, size


def _holder(choice: dict[str, Any]) -> dict[str, Any]:
    delta = choice.get("delta")
    return delta if isinstance(delta, dict) else choice


def _text(choice: dict[str, Any]) -> int:
    holder = _holder(choice)
    thought = holder.get("reasoning_content") or holder.get("reasoning") or holder.get("thinking")
    others = [holder.get(name) for name in ("text", "refusal", "tool_calls", "function_call")]
    return message_bytes(holder.get("content"), thought, others)[0]


def _ended_in(kept: list[dict[str, Any]], ended: set[object], events: list[dict[str, Any]]) -> set[object]:
    """Choices whose finish reason the client has or gets: those that ended, but for those whose end is among the events left out."""
    dropped = [event for event in events if not any(event is each for each in kept)]
    lost = {choice.get("index", 0) for event in dropped for choice in event.get("choices") or () if choice.get("finish_reason")}
    return ended - lost


def _end(event: dict[str, Any], index: object) -> dict[str, Any]:
    """The end of a choice, in the form of its stream."""
    empty: dict[str, Any] = {"text": ""} if event.get("object") == "text_completion" else {"delta": {}}
    fields = {name: value for name, value in event.items() if name != "usage"}
    return {**fields, "choices": [{"index": index, **empty, "logprobs": None, "finish_reason": "length"}]}
