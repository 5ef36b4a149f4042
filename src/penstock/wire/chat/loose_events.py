"""An event of a stream that is not `data: {"...` with choices: an error in one of many shapes, rubbish, or a chunk in another form."""

import msgspec

from penstock.wire.chat import tolerant
from penstock.wire.chat.chunks import Chunk, EngineReportedError, GarbledStream, decode_fields, decode_loose
from penstock.wire.chat.engine_errors import is_error
from penstock.wire.chat.tolerant import Halves


def read_loose(event: bytes, data: bytes, halves: Halves) -> tuple[Chunk, bytes] | None:
    """The chunk and its JSON; None: an event that says nothing. Raises GarbledStream, EngineReportedError."""
    named_error = any(line.startswith(b"event:") and line[6:].strip() == b"error" for line in event.split(b"\n"))
    try:
        chunk, fields = decode_loose(data), decode_fields(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if named_error:
            raise EngineReportedError(data) from None
        repaired = tolerant.reread(data, halves)
        if repaired is None:
            raise GarbledStream(f"an event that is not a chunk: {error}") from None
        try:
            chunk, fields = decode_loose(repaired), decode_fields(repaired)
        except msgspec.DecodeError as still:
            raise GarbledStream(f"an event that is not a chunk: {still}") from None
    if named_error:
        raise EngineReportedError(data)
    if chunk.choices is None and not chunk.error:
        if is_error(msgspec.json.decode(data)):
            raise EngineReportedError(data)
        if chunk.usage is None:
            return None
    return Chunk(chunk.choices or [], chunk.usage, chunk.error), msgspec.json.encode(fields)
