"""A chunk of an engine's stream, as far as it is looked at."""

from typing import Any

import msgspec


class GarbledStream(Exception):
    """What came is not a stream of OpenAI's chunks; the text is for the log."""


class OversizedEvent(GarbledStream):
    """An event is larger than what is passed on."""

    def __init__(self, largest_bytes: int) -> None:
        super().__init__(f"an event of more than {largest_bytes} bytes")
        self.largest_bytes = largest_bytes


class EngineReportedError(Exception):
    """The engine put an error into its stream: `body` is what it said. The text is for the log and quotes nothing."""

    def __init__(self, body: bytes) -> None:
        super().__init__(f"the engine reported an error of {len(body)} bytes")
        self.body = body


class Delta(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    thinking: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None


class ChunkChoice(msgspec.Struct, gc=False):
    index: int | float | str | None = 0
    finish_reason: str | None = None
    delta: Delta | None = None
    text: str | None = None


class Chunk(msgspec.Struct, gc=False):
    choices: list[ChunkChoice]
    usage: Any = None
    error: Any = None


class LooseChunk(msgspec.Struct, gc=False):
    choices: list[ChunkChoice] | None = None
    usage: Any = None
    error: Any = None


decode_all = msgspec.json.Decoder(list[Chunk]).decode
decode_loose = msgspec.json.Decoder(LooseChunk).decode
decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
