"""The items of OpenAI's Responses API and the messages of chat completions that say the same."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from penstock.domain.errors import BadRequest, UnsupportedParameter
from penstock.wire.chat.requests import explained

Json = dict[str, Any]
T = TypeVar("T")
_UNKNOWN_FIELD = "Object contains unknown field"
_MUST_BE_NULL = "Expected `null`"


class ResponseTextPart(msgspec.Struct, forbid_unknown_fields=True):
    """A text of either side; what is beside the text in an answer of ours comes back with it and says nothing new."""

    type: Literal["input_text", "output_text", "text", "reasoning_text", "summary_text"]
    text: str
    annotations: list[Any] = []
    logprobs: list[Any] | None = None


class RefusalPart(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["refusal"]
    refusal: str


class ImagePart(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["input_image"]
    image_url: str | None = None
    detail: Literal["low", "high", "auto", "original"] | None = None
    file_id: None = None


class AudioPart(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["input_audio"]
    input_audio: Json


_PARTS: dict[str, type[ResponseTextPart | RefusalPart | ImagePart | AudioPart]] = {
    **dict.fromkeys(("input_text", "output_text", "text", "reasoning_text", "summary_text"), ResponseTextPart),
    "refusal": RefusalPart,
    "input_image": ImagePart,
    "input_audio": AudioPart,
}


class MessageItem(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Json]
    type: Literal["message"] = "message"
    id: str | None = None
    status: str | None = None
    phase: str | None = None


class CallItem(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: str | None = None
    namespace: None = None
    caller: None = None


class CallOutputItem(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[Json]
    id: str | None = None
    status: str | None = None
    caller: None = None


class ReasoningItem(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["reasoning"]
    summary: list[Json] = []
    content: list[Json] | None = None
    id: str | None = None
    status: str | None = None
    encrypted_content: str | None = None
    """Only who encrypted it could read it."""


Item = MessageItem | CallItem | CallOutputItem | ReasoningItem
_ITEMS: dict[str, type[Item]] = {
    "message": MessageItem,
    "function_call": CallItem,
    "function_call_output": CallOutputItem,
    "reasoning": ReasoningItem,
}
_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


def typed(value: Any, kind: type[T], where: str) -> T:
    """Raises BadRequest, or UnsupportedParameter for what OpenAI may know and we do not; `where` is the path to the value."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise located(str(error), where) from None


def located(sentence: str, where: str) -> BadRequest:
    """What msgspec has to say, with the whole path of the field as `param`."""
    if sentence.startswith(_UNKNOWN_FIELD):
        name = sentence.split("`")[1]
        inner = explained(sentence).param
        path = ".".join(filter(None, (where, inner, name)))
        return UnsupportedParameter(f"'{path}' is not supported here.", param=path)
    found = explained(sentence)
    path = ".".join(filter(None, (where, found.param)))
    if sentence.startswith(_MUST_BE_NULL):
        return UnsupportedParameter(f"'{path}' is not supported here.", param=path)
    message = found.message if found.param is None or not where else found.message.replace(f"'{found.param}'", f"'{path}'", 1)
    return BadRequest(message, param=path or None)


def input_items(value: Any) -> list[Json]:
    """What a request's `input` says, as items that have passed the checks. Raises BadRequest, UnsupportedParameter."""
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    if not isinstance(value, list):
        raise BadRequest("'input' must be a string or an array of items.", param="input")
    for at, item in enumerate(value):
        _item(item, f"input[{at}]")
    return value


def named_items(items: Sequence[Json], new_id: Callable[[str], str]) -> list[Json]:
    """The items as they are kept and shown: each with a type, an id and a status, each content a list of parts."""
    return [_named(item, new_id) for item in items]


def _named(item: Json, new_id: Callable[[str], str]) -> Json:
    kind = item.get("type") or "message"
    shown = {**item, "type": kind, "id": item.get("id") or new_id(_PREFIXES[kind]), "status": item.get("status") or "completed"}
    if kind == "message" and isinstance(item["content"], str):
        part: Json = {"type": "input_text", "text": item["content"]}
        if item["role"] == "assistant":
            part = {"type": "output_text", "text": item["content"], "annotations": []}
        shown["content"] = [part]
    return shown


def messages(items: Sequence[Json]) -> list[Json]:
    """The chat messages that say the same: what an assistant thought, said and called in one turn is one message."""
    chat_messages: list[Json] = []
    thought = ""
    for at, raw in enumerate(items):
        where = f"input[{at}]"
        item = _item(raw, where)
        if isinstance(item, ReasoningItem):
            thought += _thought(item, where)
            continue
        if isinstance(item, CallOutputItem):
            message: Json = {"role": "tool", "tool_call_id": item.call_id, "content": _content(item.output, f"{where}.output")}
        elif isinstance(item, CallItem):
            message = {"role": "assistant", "content": None, "tool_calls": [_tool_call(item)]}
        else:
            message = {"role": item.role, "content": _content(item.content, f"{where}.content")}
        if thought:
            if message["role"] != "assistant":
                chat_messages.append({"role": "assistant", "content": "", "reasoning_content": thought})
            else:
                message["reasoning_content"] = thought
            thought = ""
        if isinstance(item, CallItem) and chat_messages and chat_messages[-1]["role"] == "assistant" and "reasoning_content" not in message:
            chat_messages[-1].setdefault("tool_calls", []).extend(message["tool_calls"])
        else:
            chat_messages.append(message)
    if thought:
        chat_messages.append({"role": "assistant", "content": "", "reasoning_content": thought})
    return chat_messages


def _item(value: Any, where: str) -> Item:
    if not isinstance(value, dict):
        raise BadRequest(f"'{where}' must be an object.", param=where)
    kind = value.get("type") or "message"
    known = _ITEMS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise UnsupportedParameter(f"Items of this type are not supported here: '{where}.type'.", param=f"{where}.type")
    return typed({**value, "type": kind}, known, where)


def _tool_call(item: CallItem) -> Json:
    return {"id": item.call_id, "type": "function", "function": {"name": item.name, "arguments": item.arguments}}


def _thought(item: ReasoningItem, where: str) -> str:
    texts = [typed(part, ResponseTextPart, f"{where}.content").text for part in item.content or ()]
    return "".join(texts or [typed(part, ResponseTextPart, f"{where}.summary").text for part in item.summary])


def _content(value: str | list[Json], where: str) -> str | list[Json]:
    """One text as a string, which every engine understands; anything else as chat's own parts."""
    if isinstance(value, str):
        return value
    parts = [_part(part, f"{where}[{at}]") for at, part in enumerate(value)]
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts


def _part(value: Json, where: str) -> Json:
    kind = value.get("type")
    known = _PARTS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise UnsupportedParameter(f"Content of this type is not supported here: '{where}.type'.", param=f"{where}.type")
    part = typed(value, known, where)
    if isinstance(part, ResponseTextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, RefusalPart):
        return {"type": "refusal", "refusal": part.refusal}
    if isinstance(part, AudioPart):
        return {"type": "input_audio", "input_audio": part.input_audio}
    if part.image_url is None:
        raise BadRequest(f"'{where}.image_url' is a required property.", param=f"{where}.image_url")
    return {"type": "image_url", "image_url": {"url": part.image_url, **({"detail": part.detail} if part.detail else {})}}
