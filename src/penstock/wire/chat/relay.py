"""An engine's event stream on its way to the client: checked, counted and edited once a read, not once an event.

Edits: the tier served goes in, the engine's private model name and usage that was not asked for come out. All of them are found
by bytes that cannot stand inside a JSON string, where a quote is escaped and a line break impossible.
"""

import re
from typing import Final

import msgspec

from penstock.domain.tokens import TokenCount
from penstock.wire.chat.chunks import Chunk, decode_all, decode_fields, decode_loose
from penstock.wire.chat.known_chunk import KnownChunk, learned
from penstock.wire.sse import DONE, event_data, normalise


class GarbledStream(Exception):
    """What came is not a stream of OpenAI's chunks; the text is for the log."""


class EngineReportedError(Exception):
    """The engine put an error event into its stream; the text is for the log."""


_AND_DONE: Final = b"\n\n" + DONE
_NULL_USAGE: Final = re.compile(rb',\s*"usage":\s*null|(?<=\{)"usage":\s*null,\s*')
_LESSONS: Final = 4
"""Chunks in a row that never came again, after which no more are learned: this engine's all differ."""
TIER_VALUE: Final = re.compile(rb',\s*"service_tier":\s*(?:null|"[^"]*")|(?<=\{)\s*"service_tier":\s*(?:null|"[^"]*"),\s*')


def model_pattern(engine_name: str) -> re.Pattern[bytes]:
    """Where a reply names the engine's model."""
    return re.compile(rb'"model":\s*' + re.escape(msgspec.json.encode(engine_name)))


class Relay:
    """One stream. After every `feed`: `tokens` made so far, `usage` as last reported, `done` once the engine said so."""

    __slots__ = (
        "_known",
        "_largest_event",
        "_lessons",
        "_model",
        "_open_tag",
        "_rest",
        "_stopped",
        "_usage_wanted",
        "done",
        "finished",
        "tokens",
        "usage",
    )

    def __init__(
        self,
        *,
        usage_wanted: bool,
        service_tier: str,
        rename: tuple[re.Pattern[bytes], bytes] | None = None,
        largest_event_bytes: int = 1 << 20,
    ) -> None:
        self._usage_wanted = usage_wanted
        self._open_tag = b'\ndata: {"service_tier":"%b",' % service_tier.encode("ascii")
        self._model = rename
        self._largest_event = largest_event_bytes
        self._rest = b""
        self._known: KnownChunk | None = None
        self._lessons = _LESSONS
        self._stopped = False
        """The engine said that it is done, and has gone on: what follows is not looked at."""
        self.tokens = 0
        self.usage: TokenCount | None = None
        self.finished = False
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """The events that this read completed, as the client gets them. Raises GarbledStream or EngineReportedError."""
        if self.done:
            return b""
        buffer = self._rest + data if self._rest else data
        if buffer.find(b"\r") >= 0:  # `in` on bytes makes an exception first
            # A CR at the very end may be half of a CRLF: wait for the rest.
            held = buffer.endswith(b"\r")
            buffer = normalise(buffer[:-1] if held else buffer) + (b"\r" if held else b"")
        end = buffer.rfind(b"\n\n") + 2
        self._rest = buffer[end:] if end > 1 else buffer
        if len(self._rest) > self._largest_event:
            raise GarbledStream(f"an event of more than {self._largest_event} bytes")
        return self._complete(buffer[:end]) if end > 1 else b""

    def close(self) -> bytes:
        """The engine ended its response; what may still be sent. Raises GarbledStream when the answer is not whole."""
        last = b""
        if not self.done and self._rest.strip():
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
        """Event by event: comments dropped, each rewritten in the plain form. Raises GarbledStream."""
        events: list[bytes] = []
        chunks: list[Chunk] = []
        for event in text.split(b"\n\n"):
            data = event_data(event)
            if data is None or not data.strip():
                continue
            if data.strip() == b"[DONE]":
                self.done = self._stopped = True
                break
            try:
                chunk = decode_loose(data)
                data = msgspec.json.encode(decode_fields(data))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise GarbledStream(f"an event that is not a chunk: {error}") from None
            if chunk.choices is None and chunk.usage is None and chunk.error is None:
                continue
            events.append(b"data: " + data.replace(b"\n", b" ") + b"\n\n")
            chunks.append(Chunk(chunk.choices or [], chunk.usage, chunk.error))
        return b"".join(events), chunks

    def _count(self, chunks: list[Chunk]) -> bool:
        """Takes note of tokens, finish reasons and usage; returns whether any chunk reports usage."""
        reported = False
        for chunk in chunks:
            if chunk.error is not None:
                raise EngineReportedError(str(chunk.error)[:500])
            if chunk.usage is not None:
                reported = True
                self.usage = chunk.usage.count()
            for choice in chunk.choices:
                delta = choice.delta
                if choice.text or (
                    delta and (delta.content or delta.tool_calls or delta.reasoning_content or delta.reasoning or delta.refusal)
                ):
                    self.tokens += 1
                if choice.finish_reason is not None:
                    self.finished = True
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
