"""An engine's event stream on its way to the client: checked, counted and edited once a read, not once an event.

Edits: the tier served goes in, the engine's private model name and usage that was not asked for come out. All of them are found
by bytes that cannot stand inside a JSON string, where a quote is escaped and a line break impossible.
"""

import re
from typing import Any, Final

import msgspec

from penstock.domain.tokens import UsageReport
from penstock.wire.chat.chunks import Chunk, ChunkChoice, EngineReportedError, GarbledStream, OversizedEvent, decode_all, decode_fields
from penstock.wire.chat.counting import NO_LIMIT, Seen, message_bytes, overrun, possible, text_bytes
from penstock.wire.chat.cutting import cut_stream
from penstock.wire.chat.known_chunk import KnownChunk, learned
from penstock.wire.chat.loose_events import read_loose
from penstock.wire.chat.reasoning import ReasoningStream
from penstock.wire.chat.requests import BYTES_PER_TOKEN
from penstock.wire.sse import DONE, event_data, normalise
from penstock.wire.usage import usage_report

_AND_DONE: Final = b"\n\n" + DONE
_NULL_USAGE: Final = re.compile(rb',\s*"usage":\s*null|(?<=\{)"usage":\s*null,\s*')
_LARGE: Final = 64 * 1024
"""An event of more bytes is not looked at with each read, but when it may have ended: it would be copied again and again."""
_ENDLESS: Final = 1 << 60
_LESSONS: Final = 4
"""Chunks in a row that never came again, after which no more are learned: this engine's all differ."""
TIER_VALUE: Final = re.compile(rb',\s*"service_tier":\s*(?:null|"[^"]*")|(?<=\{)\s*"service_tier":\s*(?:null|"[^"]*"),\s*')


def model_pattern(engine_name: str) -> re.Pattern[bytes]:
    """Where a reply names the engine's model."""
    return re.compile(rb'"model":\s*' + re.escape(msgspec.json.encode(engine_name)))


class Relay:
    """One stream. After every `feed`: `tokens` (pieces of text) so far and their `size` in bytes, `usage` as last reported, `done` once
    the engine said so or made more than the client allowed (`cut`)."""

    __slots__ = (
        "_begun",
        "_ended",
        "_halves",
        "_known",
        "_larger",
        "_larger_bytes",
        "_largest_event",
        "_lessons",
        "_limit",
        "_model",
        "_open_tag",
        "_reasoning",
        "_rest",
        "_rewrite",
        "_room",
        "_stopped",
        "_usage_wanted",
        "cut",
        "done",
        "size",
        "tokens",
        "usage",
        "usage_withheld",
    )

    def __init__(
        self,
        *,
        usage_wanted: bool,
        service_tier: str,
        rename: tuple[re.Pattern[bytes], bytes] | None = None,
        largest_event_bytes: int = 16 << 20,
        limit: int = NO_LIMIT,
        rewrite: ReasoningStream | None = None,
    ) -> None:
        """`limit`: the most tokens that the client wants, of all choices; `rewrite`: for a server whose reasoning gets another name."""
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
        self._rewrite = rewrite
        self._lessons = _LESSONS if rewrite is None else 0
        self._stopped = False
        """The engine said that it is done, and has gone on: what follows is not looked at."""
        self._limit = limit
        self._room = BYTES_PER_TOKEN * limit if limit != NO_LIMIT else _ENDLESS
        """Bytes of text above which it is asked whether they are too many."""
        self._reasoning = 0
        self.tokens = 0
        self.size = 0
        self.usage: UsageReport | None = None
        self.usage_withheld = False
        """The engine's last report cannot be, or cannot be read: it is not in the stream."""
        self.done = False
        self.cut = False

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
        if end <= 1:
            return b""
        out = self._complete(buffer[:end])
        return self._within_limit(out) if self.size > self._room else out

    def seen(self, echoed: int = 0) -> Seen:
        """What has passed; `echoed`: bytes of the prompt that the answer repeats first."""
        size = self.size - echoed
        return Seen(self.tokens if size > 0 else 0, size if size > 0 else 0, self._reasoning)

    def _within_limit(self, out: bytes) -> bytes:
        """The last events as they go out, of which some may be beyond what the client allowed."""
        if not overrun(self.tokens, self.size, self._limit):
            return out
        out, self.tokens, self.size = cut_stream(out, self.tokens, self.size, self._limit, self._begun, self._ended)
        self.cut = self.done = self._stopped = True
        return out

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
        self.size += alike[2]
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
        if not text.startswith(b'data: {"') or self._rewrite is not None:
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
            if found is not None and self._rewrite is not None:
                found = read_loose(b"", self._rewrite.rewritten(found[1]), self._halves)
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
            for choice in chunk.choices:
                size = self._text_of(choice)
                if size:
                    self.tokens += 1
                    self.size += size
                self._begun.add(choice.index)
                if choice.finish_reason:
                    if choice.finish_reason == "error":
                        raise EngineReportedError(b'{"error":"a finish reason says so"}')
                    self._ended.add(choice.index)
            if chunk.usage is not None:
                reported = True
                self._note_usage(chunk.usage)
        return reported

    def _text_of(self, choice: ChunkChoice) -> int:
        """Bytes of its text; at least one where there is anything that cannot be measured."""
        delta = choice.delta
        if delta is None:
            return text_bytes(choice.text)
        content = delta.content
        thought = delta.reasoning_content or delta.reasoning or delta.thinking
        plain = isinstance(content, str) or not content
        if plain and not thought and not delta.tool_calls and not delta.refusal and not delta.function_call and not choice.text:
            return text_bytes(content)
        size, reasoning = message_bytes(content, thought, [choice.text, delta.tool_calls, delta.refusal, delta.function_call])
        self._reasoning += reasoning
        return size or 1

    def _note_usage(self, usage: Any) -> None:
        self.usage = report = usage_report(usage)
        # What is counted in its place is told at the end.
        self.usage_withheld = not possible(report, self.seen(), self._limit) or (self._reasoning > 0 and not report.reasoning)

    def _edited(self, text: bytes, with_usage: bool) -> bytes:
        wanted = self._usage_wanted
        if (not wanted or (with_usage and self.usage_withheld)) and text.find(b'"usage"') >= 0:
            text = _without_usage(text, keep_null=wanted) if with_usage else _NULL_USAGE.sub(b"", text)
        if text.find(b'"service_tier"') >= 0:
            text = TIER_VALUE.sub(b"", text)
        if self._model is not None:
            text = self._model[0].sub(self._model[1], text)
        return (b"\n" + text).replace(b"\ndata: {", self._open_tag)[1:]


def _without_usage(text: bytes, *, keep_null: bool) -> bytes:
    """Drops usage from every event, and the event when it held nothing else. Only the last reads of a stream come here."""
    kept = []
    for event in text.split(b"\n\n")[:-1]:
        try:
            fields = decode_fields(event[6:])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise GarbledStream(f"an event that is not a chunk: {error}") from None
        reported = bytes(fields.get("usage", b"null")) != b"null"
        if reported or not keep_null:
            fields.pop("usage", None)
        if reported and bytes(fields.get("choices", b"[]")) == b"[]":
            continue
        kept.append(b"data: " + msgspec.json.encode(fields) + b"\n\n")
    return b"".join(kept)
