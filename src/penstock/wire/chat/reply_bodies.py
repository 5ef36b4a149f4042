"""An engine's whole replies as types, for `wire/chat/replies.py`, which is compiled: compiled modules lose what msgspec must know."""

from typing import Any

import msgspec

from penstock.wire.usage import Usage


class ReplyBody(msgspec.Struct, gc=False):
    usage: Usage | None = None
    choices: list[msgspec.Raw] | None = None
    data: msgspec.Raw = msgspec.Raw()
    error: Any = None


class ReplyMessage(msgspec.Struct, gc=False):
    content: Any = None


class ReplyChoice(msgspec.Struct, gc=False):
    message: ReplyMessage | None = None
    text: str | None = None


class Embedding(msgspec.Struct, gc=False):
    embedding: list[float] | str
    index: int = 0
    object: str = "embedding"
