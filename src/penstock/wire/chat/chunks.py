"""A chunk of an engine's stream, as far as it is looked at."""

from typing import Any

import msgspec

from penstock.wire.usage import Usage


class Delta(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None


class ChunkChoice(msgspec.Struct, gc=False):
    finish_reason: str | None = None
    delta: Delta | None = None
    text: str | None = None


class Chunk(msgspec.Struct, gc=False):
    choices: list[ChunkChoice]
    usage: Usage | None = None
    error: Any = None


class LooseChunk(msgspec.Struct, gc=False):
    choices: list[ChunkChoice] | None = None
    usage: Usage | None = None
    error: Any = None


decode_all = msgspec.json.Decoder(list[Chunk]).decode
decode_loose = msgspec.json.Decoder(LooseChunk).decode
decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
