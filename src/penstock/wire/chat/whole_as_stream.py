"""A whole answer as the stream that was asked for: some servers, and some proxies before them, ignore `stream`."""

from typing import Any, Final

import msgspec

from penstock.wire.chat.replies import GarbledReply
from penstock.wire.sse import DONE

_encode: Final = msgspec.json.encode
_KEPT: Final = ("id", "created", "model", "system_fingerprint")


def whole_as_events(body: bytes) -> bytes:
    """Chunks with everything that the answer says, its usage, and the end. Raises GarbledReply."""
    try:
        reply = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GarbledReply(f"neither a stream nor a whole answer: {error}") from None
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise GarbledReply("a stream was asked for, and an answer without choices came")
    is_chat = any("message" in choice for choice in choices)
    head = {name: reply[name] for name in _KEPT if name in reply}
    head["object"] = "chat.completion.chunk" if is_chat else "text_completion"
    events = []
    for place, choice in enumerate(choices):
        index = choice.get("index", place)
        content = _content(choice)
        events.append({**head, "choices": [{"index": index, **content, "finish_reason": None}]})
        empty: dict[str, Any] = {"delta": {}} if is_chat else {"text": ""}
        events.append({**head, "choices": [{"index": index, **empty, "finish_reason": choice.get("finish_reason") or "stop"}]})
    if reply.get("usage"):
        events.append({**head, "choices": [], "usage": reply["usage"]})
    return b"".join(b"data: %b\n\n" % _encode(event) for event in events) + DONE


def _content(choice: dict[str, Any]) -> dict[str, Any]:
    """What a choice says, as its first chunk says it."""
    said = {"logprobs": choice["logprobs"]} if choice.get("logprobs") else {}
    message = choice.get("message")
    if not isinstance(message, dict):
        return {"text": choice.get("text") or "", **said}
    delta = {name: value for name, value in message.items() if value is not None}
    if isinstance(calls := delta.get("tool_calls"), list):
        delta["tool_calls"] = [{"index": at, **call} if isinstance(call, dict) else call for at, call in enumerate(calls)]
    return {"delta": delta, **said}
