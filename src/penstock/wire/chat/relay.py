"""An engine's event stream on its way to the client: checked, counted and edited once a read, not once an event.

Edits: the tier served goes in, the engine's private model name and usage that was not asked for come out. All of them are found
by bytes that cannot stand inside a JSON string, where a quote is escaped and a line break impossible.
"""

import re
from typing import Final

import msgspec

from penstock.domain.tokens import TokenCount
from penstock.wire.chat.chunks import Chunk, EngineReportedError, GarbledStream, OversizedEvent, decode_all, decode_fields
from penstock.wire.chat.known_chunk import KnownChunk, learned
from penstock.wire.chat.loose_events import read_loose
from penstock.wire.sse import DONE, event_data, normalise

_AND_DONE: Final = b"\n\n" + DONE
_NULL_USAGE: Final = re.compile(rb',\s*"usage":\s*null|(?<=\{)"usage":\s*null,\s*')
_LARGE: Final = 64 * 1024
"""An event of more bytes is not looked at with each read, but when it may have ended: it would be copied again and again."""
_LESSONS: Final = 4
"""Chunks in a row that never came again, after which no more are learned: this engine's all differ."""
TIER_VALUE: Final = re.compile(rb',\s*"service_tier":\s*(?:null|"[^"]*")|(?<=\{)\s*"service_tier":\s*(?:null|"[^"]*"),\s*')


def model_pattern(engine_name: str) -> re.Pattern[bytes]:
    """Where a reply names the engine's model."""
    return re.compile(rb'"model":\s*' + re.escape(msgspec.json.encode(engine_name)))


class Relay:
    """One stream. After every `feed`: `tokens` made so far, `usage` as last reported, `done` once the engine said so."""

    __slots__ = (
        "_begun",
        "_ended",
        "_halves",
        "_known",
        "_larger",
        "_larger_bytes",
        "_largest_event",
        "_lessons",
        "_model",
        "_open_tag",
        "_rest",
        "_stopped",
        "_usage_wanted",
        "done",
        "tokens",
        "usage",
    )

    def __init__(
        self,
        *,
        usage_wanted: bool,
        service_tier: str,
        rename: tuple[re.Pattern[bytes], bytes] | None = None,
        largest_event_bytes: int = 16 << 20,
    ) -> None:
        self._usage_wanted = usage_wanted
        self._open_tag = b'\ndata: {"service_tier":"%b",' % service_tier.encode("ascii")
        self._model = rename
        self._largest_event = largest_event_bytes
        self._rest = b""
        self._larger: list[bytes] = []
        """What has come of a large event after `_rest`."""
        self._larger_bytes = 0
        self._begun: set[object] = set()
        self._ended: set[object] = set()
        """Indices of choices: those of which anything has come, and those that gave a finish reason."""
        self._halves: dict[str, str] = {}
        self._known: KnownChunk | None = None
        self._lessons = _LESSONS
        self._stopped = False
        """The engine said that it is done, and has gone on: what follows is not looked at."""
        self.tokens = 0
        self.usage: TokenCount | None = None
        self.done = False

    @property
    def finished(self) -> bool:
        """Every choice that began has given its finish reason."""
        return len(self._ended) > 0 and self._begun <= self._ended

    @property
    def is_empty(self) -> bool:
        """No choice and no usage has come."""
        return not self._begun and self.usage is None

    def feed(self, data: bytes) -> bytes:
        """The events that this read completed, as the client gets them. Raises GarbledStream or EngineReportedError."""
        if self.done:
            return b""
        if len(self._rest) > _LARGE and self._is_inside(data):
            return b""
        buffer = self._rest + data if self._rest else data
        if buffer.find(b"\r") >= 0:  # `in` on bytes makes an exception first
            # A CR at the very end may be half of a CRLF: wait for the rest.
            held = buffer.endswith(b"\r")
            buffer = normalise(buffer[:-1] if held else buffer) + (b"\r" if held else b"")
        end = buffer.rfind(b"\n\n") + 2
        self._rest = buffer[end:] if end > 1 else buffer
        if len(self._rest) > self._largest_event:
            raise OversizedEvent(self._largest_event)
        return self._complete(buffer[:end]) if end > 1 else b""

    def _is_inside(self, data: bytes) -> bool:
        """Whether a large event goes on after this read; when it may end here, `_rest` is all that came of it before."""
        if data.find(b"\n") >= 0 or data.find(b"\r") >= 0:
            if self._larger:
                self._rest += b"".join(self._larger)
                self._larger.clear()
                self._larger_bytes = 0
            return False
        self._larger.append(data)
        self._larger_bytes += len(data)
        if len(self._rest) + self._larger_bytes > self._largest_event:
            raise OversizedEvent(self._largest_event)
        return True

    def close(self) -> bytes:
        """The engine ended its response; what may still be sent. Raises GarbledStream when the answer is not whole."""
        last = b""
        if not self.done and (self._larger or self._rest.strip()):
            last = self.feed(b"\n\n")
        if not self.done and not self.finished:
            raise GarbledStream("the stream ended without a finish reason and without [DONE]")
        self.done = True
        return last

    def _complete(self, text: bytes) -> bytes:
        if text.endswith(_AND_DONE) or text == DONE:
            self.done = True
            text = text[: -len(DONE)]
            if not text:
                return b""
        known = self._known
        if known is None:
            return self._lesson(text) if self._lessons else self._looked_at(text)
        size = known.leading(text)
        alike = known.relayed(text[:size]) if size else None
        if alike is None:
            # Another kind of chunk, or one that must be decoded; what comes next may come again.
            self._known = None
            return self._looked_at(text)
        self._lessons = _LESSONS
        self.tokens += alike[1]
        return alike[0] + self._looked_at(text[size:])

    def _lesson(self, text: bytes) -> bytes:
        """Two events are looked at, as the first one of a stream is like no other; what follows the second may be like it."""
        self._lessons -= 1
        first = text.find(b"\n\n") + 2
        second = text.find(b"\n\n", first) + 2
        if second < first:
            first, second = 0, first
        out = self._looked_at(text[:first])
        event = text[first:second]
        chunks = None if self._stopped else self._plain(event)
        if chunks is None:
            return out + self._looked_at(text[first:])
        edited = self._edited(event, self._count(chunks))
        self._known = learned(event, chunks[0], edited)
        rest = text[second:]
        return out + edited + (self._complete(rest) if rest else b"")

    def _looked_at(self, text: bytes) -> bytes:
        if not text or self._stopped:
            return b""
        chunks = self._plain(text)
        if chunks is None:
            text, chunks = self._event_by_event(text)
        with_usage = self._count(chunks)
        return self._edited(text, with_usage) if text else b""

    def _plain(self, text: bytes) -> list[Chunk] | None:
        """All events of a read decoded in one call, when each is exactly `data: {"...}` and has choices; None when any is not."""
        if not text.startswith(b'data: {"'):
            return None
        try:
            chunks = decode_all(b"[%b]" % text[6:-2].replace(b'\n\ndata: {"', b',{"'))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        # A third newline would be read as white space of the JSON, and sent on.
        return chunks if len(chunks) == text.count(b"\n\n") and text.find(b"\n\n\n") < 0 else None

    def _event_by_event(self, text: bytes) -> tuple[bytes, list[Chunk]]:
        """Event by event: comments dropped, each rewritten in the plain form. Raises GarbledStream, EngineReportedError."""
        events: list[bytes] = []
        chunks: list[Chunk] = []
        for event in text.split(b"\n\n"):
            data = event_data(event)
            if data is None or not data.strip():
                continue
            if data.strip() == b"[DONE]":
                self.done = self._stopped = True
                break
            found = read_loose(event, data, self._halves)
            if found is None:
                continue
            events.append(b"data: " + found[1].replace(b"\n", b" ") + b"\n\n")
            chunks.append(found[0])
        return b"".join(events), chunks

    def _count(self, chunks: list[Chunk]) -> bool:
        """Takes note of tokens, finish reasons and usage; returns whether any chunk reports usage."""
        reported = False
        for chunk in chunks:
            if chunk.error:
                raise EngineReportedError(msgspec.json.encode({"error": chunk.error}))
            if chunk.usage is not None:
                reported = True
                self.usage = chunk.usage.count()
            for choice in chunk.choices:
                delta = choice.delta
                if choice.text or (
                    delta and (delta.content or delta.tool_calls or delta.reasoning_content or delta.reasoning or delta.refusal)
                ):
                    self.tokens += 1
                self._begun.add(choice.index)
                if choice.finish_reason:
                    if choice.finish_reason == "error":
                        raise EngineReportedError(b'{"error":"a finish reason says so"}')
                    self._ended.add(choice.index)
        return reported

    def _edited(self, text: bytes, with_usage: bool) -> bytes:
        if not self._usage_wanted and text.find(b'"usage"') >= 0:
            text = _without_usage(text) if with_usage else _NULL_USAGE.sub(b"", text)
        if text.find(b'"service_tier"') >= 0:
            text = TIER_VALUE.sub(b"", text)
        if self._model is not None:
            text = self._model[0].sub(self._model[1], text)
        return (b"\n" + text).replace(b"\ndata: {", self._open_tag)[1:]


def _without_usage(text: bytes) -> bytes:
    """Drops usage from every event, and the event when it held nothing else. Only the last reads of a stream come here."""
    kept = []
    for event in text.split(b"\n\n")[:-1]:
        try:
            fields = decode_fields(event[6:])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise GarbledStream(f"an event that is not a chunk: {error}") from None
        reported = bytes(fields.pop("usage", b"null")) != b"null"
        if reported and bytes(fields.get("choices", b"[]")) == b"[]":
            continue
        kept.append(b"data: " + msgspec.json.encode(fields) + b"\n\n")
    return b"".join(kept)
