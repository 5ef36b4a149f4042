"""An engine's event stream on its way to the client: checked, counted and edited once a read, not once an event.

Edits: the tier served goes in, the engine's private model name and usage that nobody asked for come out. All of them are found
by bytes that cannot stand inside a JSON string, where a quote is escaped and a line break impossible.
"""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from penstock.domain.inference import TokenCount
from penstock.wire.sse import DONE, event_data, normalise


class GarbledStream(Exception):
    """What came is not a stream of OpenAI's chunks; the text is for the log."""


class EngineReportedError(Exception):
    """The engine put an error event into its stream; the text is for the log."""


Tokens = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""What journal and ledger can hold; anything else is rubbish."""


class _Details(msgspec.Struct, gc=False):
    cached_tokens: Tokens | None = None
    reasoning_tokens: Tokens | None = None


class Usage(msgspec.Struct, gc=False):
    """OpenAI's usage object, as engines send it."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None

    def count(self) -> TokenCount:
        cached = self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None
        reasoning = self.completion_tokens_details.reasoning_tokens if self.completion_tokens_details else None
        return TokenCount(self.prompt_tokens or 0, self.completion_tokens or 0, cached or 0, reasoning or 0)


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None
    delta: _Delta | None = None
    text: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice]
    usage: Usage | None = None
    error: Any = None


class _OddChunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Usage | None = None
    error: Any = None


_chunks = msgspec.json.Decoder(list[_Chunk])
_odd_chunk = msgspec.json.Decoder(_OddChunk)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_AND_DONE = b"\n\n" + DONE
_NULL_USAGE = re.compile(rb',\s*"usage":\s*null|(?<=\{)"usage":\s*null,\s*')
TIER_VALUE = re.compile(rb',\s*"service_tier":\s*(?:null|"[^"]*")|(?<=\{)\s*"service_tier":\s*(?:null|"[^"]*"),\s*')


def model_pattern(engine_name: str) -> re.Pattern[bytes]:
    """Where a reply names the engine's model."""
    return re.compile(rb'"model":\s*' + re.escape(msgspec.json.encode(engine_name)))


class Relay:
    """One stream. After every `feed`: `tokens` made so far, `usage` as last reported, `done` once the engine said so."""

    __slots__ = (
        "_largest_event",
        "_model",
        "_open_tag",
        "_rest",
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
        self.tokens = 0
        self.usage: TokenCount | None = None
        self.finished = False
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """The events that this read completed, as the client gets them. Raises GarbledStream or EngineReportedError."""
        if self.done:
            return b""
        buffer = self._rest + data if self._rest else data
        if b"\r" in buffer:
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
        chunks = self._plain_chunks(text)
        if chunks is None:
            text, chunks = self._odd_chunks(text)
        with_usage = self._count(chunks)
        return self._edited(text, with_usage) if text else b""

    def _plain_chunks(self, text: bytes) -> list[_Chunk] | None:
        """All events of a read decoded in one call, when each is exactly `data: {"...}` and has choices; None when any is not."""
        if not text.startswith(b'data: {"'):
            return None
        try:
            chunks = _chunks.decode(b"[%b]" % text[6:-2].replace(b'\n\ndata: {"', b',{"'))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return chunks if len(chunks) == text.count(b"\n\n") else None

    def _odd_chunks(self, text: bytes) -> tuple[bytes, list[_Chunk]]:
        """Event by event: comments dropped, each rewritten in the plain form. Raises GarbledStream."""
        events: list[bytes] = []
        chunks: list[_Chunk] = []
        for event in text.split(b"\n\n"):
            data = event_data(event)
            if data is None or not data.strip():
                continue
            if data.strip() == b"[DONE]":
                self.done = True
                break
            try:
                chunk = _odd_chunk.decode(data)
                data = msgspec.json.encode(_fields.decode(data))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise GarbledStream(f"an event that is no chunk: {error}") from None
            if chunk.choices is None and chunk.usage is None and chunk.error is None:
                continue
            events.append(b"data: " + data.replace(b"\n", b" ") + b"\n\n")
            chunks.append(_Chunk(chunk.choices or [], chunk.usage, chunk.error))
        return b"".join(events), chunks

    def _count(self, chunks: list[_Chunk]) -> bool:
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
        if not self._usage_wanted and b'"usage"' in text:
            text = _without_usage(text) if with_usage else _NULL_USAGE.sub(b"", text)
        if b'"service_tier"' in text:
            text = TIER_VALUE.sub(b"", text)
        if self._model is not None:
            text = self._model[0].sub(self._model[1], text)
        return (b"\n" + text).replace(b"\ndata: {", self._open_tag)[1:]


def _without_usage(text: bytes) -> bytes:
    """Drops usage from every event, and the event when it held nothing else. Only the last reads of a stream come here."""
    kept = []
    for event in text.split(b"\n\n")[:-1]:
        try:
            fields = _fields.decode(event[6:])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise GarbledStream(f"an event that is no chunk: {error}") from None
        reported = bytes(fields.pop("usage", b"null")) != b"null"
        if reported and bytes(fields.get("choices", b"[]")) == b"[]":
            continue
        kept.append(b"data: " + msgspec.json.encode(fields) + b"\n\n")
    return b"".join(kept)


def usage_json(count: TokenCount) -> dict[str, Any]:
    """OpenAI's usage object for a count of ours or an engine's."""
    usage: dict[str, Any] = {
        "prompt_tokens": count.prompt,
        "completion_tokens": count.completion,
        "total_tokens": count.prompt + count.completion,
        "prompt_tokens_details": {"cached_tokens": count.cached},
        "completion_tokens_details": {"reasoning_tokens": count.reasoning},
    }
    if count.estimated:
        usage["estimated"] = True
    return usage


def usage_event(request_id: str, created: int, model: str, service_tier: str, count: TokenCount, *, chat: bool) -> bytes:
    """The usage chunk that a client asked for and the engine did not send."""
    chunk: dict[str, Any] = {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{request_id}",
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": created,
        "model": model,
        "service_tier": service_tier,
        "choices": [],
        "usage": usage_json(count),
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
