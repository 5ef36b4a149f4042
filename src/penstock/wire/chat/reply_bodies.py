"""An engine's whole replies as types, for `wire/chat/replies.py`, which is compiled: compiled modules lose what msgspec must know."""

from typing import Any

import msgspec

from penstock.wire.usage import Usage


class ReplyBody(msgspec.Struct, gc=False):
    usage: Usage | None = None
    choices: list[msgspec.Raw] | None = None
    data: msgspec.Raw = msgspec.Raw()
    error: Any = None


class OddReplyBody(msgspec.Struct, gc=False):
    """The same, with a usage object that is not OpenAI's."""

    usage: Any = None
    choices: list[msgspec.Raw] | None = None
    data: msgspec.Raw = msgspec.Raw()
    error: Any = None


class ReplyMessage(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    thinking: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None


class ReplyChoice(msgspec.Struct, gc=False):
    message: ReplyMessage | None = None
    text: Any = None


class Embedding(msgspec.Struct, gc=False):
    embedding: list[float] | str
    index: int = 0
    object: str = "embedding"
