"""A generator's events as OpenAI's JSON or event stream: one token a chunk, ids constant, usage last and only when asked."""

import base64
from array import array
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from penstock.domain.errors import BadRequest
from penstock.domain.inference import Operation
from penstock.domain.ports.engine import (
    Answer,
    EmbeddingRequest,
    Event,
    Finished,
    GenerationRequest,
    Generator,
    Started,
    Thought,
    Token,
    TokenLogprob,
    ToolCallArguments,
    ToolCallStarted,
)
from penstock.domain.tokens import TokenCount
from penstock.wire import sse
from penstock.wire.chat.generation_bodies import embedding_request, generation_request

PROMPT_TOKENS = b"x-penstock-prompt-tokens"
"""The exact count of the prompt, for a meter that must know it before the usage chunk comes."""

_encode = msgspec.json.encode
_JSON = [(b"content-type", b"application/json")]
_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


async def answer(generator: Generator, operation: Operation, body: bytes, answer_id: str, created: int) -> Answer:
    """Read the body, let the generator work, write its events. Raises the domain's errors before the first byte."""
    if operation is Operation.INFER:
        raise BadRequest("This model takes text, not tensors.", param="model")
    if operation is Operation.EMBEDDING:
        return await _embeddings(generator, embedding_request(body))
    request = generation_request(operation, body)
    chat = operation is Operation.CHAT
    prefix = "chatcmpl" if chat else "cmpl"
    head = {"id": f"{prefix}-{answer_id}", "created": created, "model": request.model}
    events = generator.generate(request)
    if not request.stream:
        return await (_collect_chat if chat else _collect_text)(events, head)
    first = await anext(events)
    prompt_tokens = first[0].prompt_tokens if isinstance(first[0], Started) else None
    writer = ChatChunks(head, request) if chat else TextChunks(head, request)
    headers = _EVENTS if prompt_tokens is None else [*_EVENTS, (PROMPT_TOKENS, b"%d" % prompt_tokens)]
    return Answer(200, headers, _stream(events, first, writer))


async def _stream(
    events: AsyncGenerator[Sequence[Event], None], first: Sequence[Event], writer: "ChatChunks | TextChunks"
) -> AsyncGenerator[bytes, None]:
    try:
        yield writer.opening() + b"".join(map(writer.chunk, first))
        async for batch in events:
            yield b"".join(map(writer.chunk, batch))
        yield sse.DONE
    finally:
        await events.aclose()


def usage(count: TokenCount) -> dict[str, Any]:
    """OpenAI's `usage` object."""
    return {
        "prompt_tokens": count.prompt,
        "completion_tokens": count.completion,
        "total_tokens": count.prompt + count.completion,
        "prompt_tokens_details": {"cached_tokens": count.cached},
        "completion_tokens_details": {"reasoning_tokens": count.reasoning},
    }


# --- chat ----------------------------------------------------------------------------------------------------------


class ChatChunks:
    """`chat.completion.chunk` events of one stream. What does not change from token to token is rendered once."""

    def __init__(self, head: dict[str, Any], request: GenerationRequest) -> None:
        self._head = _encode({"id": head["id"], "object": "chat.completion.chunk", "created": head["created"], "model": head["model"]})[:-1]
        self._choices = request.choices * len(request.prompts)
        self._include_usage = request.include_usage
        self._tail = b'}],"usage":null}\n\n' if request.include_usage else b"}]}\n\n"
        self._before = [b'data: %b,"choices":[{"index":%d,"delta":' % (self._head, at) for at in range(self._choices)]
        self._plain_end = b',"logprobs":null,"finish_reason":null' + self._tail

    def opening(self) -> bytes:
        """Each choice says first who speaks."""
        return b"".join(self._delta(at, b'{"role":"assistant","content":""}') for at in range(self._choices))

    def chunk(self, event: Event) -> bytes:
        if type(event) is Token:
            delta = b'{"content":%b}' % _encode(event.text)
            if event.logprob is None:
                return self._delta(event.choice, delta)
            logprobs = _encode({"content": [_chat_logprob(event.logprob)], "refusal": None})
            return b'%b%b,"logprobs":%b,"finish_reason":null%b' % (self._before[event.choice], delta, logprobs, self._tail)
        if isinstance(event, Thought):
            return self._delta(event.choice, b'{"reasoning_content":%b}' % _encode(event.text))
        if isinstance(event, ToolCallStarted):
            call = {"index": event.index, "id": event.id, "type": "function", "function": {"name": event.name, "arguments": ""}}
            return self._delta(event.choice, _encode({"tool_calls": [call]}))
        if isinstance(event, ToolCallArguments):
            return self._delta(event.choice, _encode({"tool_calls": [{"index": event.index, "function": {"arguments": event.text}}]}))
        if isinstance(event, Finished):
            return b'%b{},"logprobs":null,"finish_reason":"%b"%b' % (self._before[event.choice], event.reason.encode(), self._tail)
        return _usage_chunk(self._head, event, self._include_usage) if isinstance(event, TokenCount) else b""

    def _delta(self, choice: int, delta: bytes) -> bytes:
        return self._before[choice] + delta + self._plain_end


async def _collect_chat(events: AsyncGenerator[Sequence[Event], None], head: dict[str, Any]) -> Answer:
    choices: dict[int, _ChatChoice] = {}
    count: TokenCount | None = None
    async for batch in events:
        for event in batch:
            if isinstance(event, TokenCount):
                count = event
            elif not isinstance(event, Started):
                choice = choices.get(event.choice)
                if choice is None:
                    choice = choices[event.choice] = _ChatChoice()
                choice.add(event)
    rendered = [choices[at].render(at) for at in sorted(choices)]
    return _document(head, "chat.completion", rendered, count)


class _ChatChoice:
    """One choice as its events come in."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._calls: list[tuple[ToolCallStarted, list[str]]] = []
        self._reason: str | None = None

    def add(self, event: Event) -> None:
        if type(event) is Token:
            self._text.append(event.text)
            if event.logprob is not None:
                self._logprobs.append(event.logprob)
        elif isinstance(event, Thought):
            self._thoughts.append(event.text)
        elif isinstance(event, ToolCallStarted):
            self._calls.append((event, []))
        elif isinstance(event, ToolCallArguments):
            self._calls[event.index][1].append(event.text)
        elif isinstance(event, Finished):
            self._reason = event.reason

    def render(self, index: int) -> dict[str, Any]:
        content = None if self._calls and not self._text else "".join(self._text)
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if self._thoughts:
            message["reasoning_content"] = "".join(self._thoughts)
        if self._calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(pieces)}}
                for call, pieces in self._calls
            ]
        logprobs = {"content": [_chat_logprob(one) for one in self._logprobs], "refusal": None} if self._logprobs else None
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": self._reason}


def _chat_logprob(one: TokenLogprob) -> dict[str, Any]:
    top = [{"token": token, "logprob": logprob, "bytes": list(token.encode())} for token, logprob in one.top]
    return {"token": one.token, "logprob": one.logprob, "bytes": list(one.token.encode()), "top_logprobs": top}


# --- legacy completions --------------------------------------------------------------------------------------------


class TextChunks:
    """`text_completion` events of one stream."""

    def __init__(self, head: dict[str, Any], request: GenerationRequest) -> None:
        self._head = _encode({"id": head["id"], "object": "text_completion", "created": head["created"], "model": head["model"]})[:-1]
        self._include_usage = request.include_usage
        self._tail = b'}],"usage":null}\n\n' if request.include_usage else b"}]}\n\n"
        self._offsets = [0] * (request.choices * len(request.prompts))

    def opening(self) -> bytes:
        return b""

    def chunk(self, event: Event) -> bytes:
        if type(event) is Token:
            logprobs = b"null" if event.logprob is None else _encode(_text_logprobs([event.logprob], self._offsets[event.choice]))
            self._offsets[event.choice] += len(event.text)
            return self._choice(event.choice, _encode(event.text), logprobs, b"null")
        if isinstance(event, Finished):
            return self._choice(event.choice, b'""', b"null", b'"%b"' % event.reason.encode())
        return _usage_chunk(self._head, event, self._include_usage) if isinstance(event, TokenCount) else b""

    def _choice(self, choice: int, text: bytes, logprobs: bytes, reason: bytes) -> bytes:
        body = b'{"index":%d,"text":%b,"logprobs":%b,"finish_reason":%b' % (choice, text, logprobs, reason)
        return b'data: %b,"choices":[%b%b' % (self._head, body, self._tail)


async def _collect_text(events: AsyncGenerator[Sequence[Event], None], head: dict[str, Any]) -> Answer:
    texts: dict[int, list[str]] = {}
    logprobs: dict[int, list[TokenLogprob]] = {}
    reasons: dict[int, str] = {}
    count: TokenCount | None = None
    async for batch in events:
        for event in batch:
            if isinstance(event, Token):
                texts.setdefault(event.choice, []).append(event.text)
                if event.logprob is not None:
                    logprobs.setdefault(event.choice, []).append(event.logprob)
            elif isinstance(event, Finished):
                reasons[event.choice] = event.reason
            elif isinstance(event, TokenCount):
                count = event
    choices = [
        {
            "index": at,
            "text": "".join(texts.get(at, ())),
            "logprobs": _text_logprobs(logprobs[at], 0) if at in logprobs else None,
            "finish_reason": reasons[at],
        }
        for at in sorted(reasons)
    ]
    return _document(head, "text_completion", choices, count)


def _text_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> dict[str, Any]:
    offsets = []
    for one in tokens:
        offsets.append(offset)
        offset += len(one.token)
    return {
        "tokens": [one.token for one in tokens],
        "token_logprobs": [one.logprob for one in tokens],
        "top_logprobs": [dict(one.top) for one in tokens],
        "text_offset": offsets,
    }


# --- shared --------------------------------------------------------------------------------------------------------


def _usage_chunk(head: bytes, count: TokenCount, wanted: bool) -> bytes:
    if not wanted or count.estimated:
        return b""
    return b'data: %b,"choices":[],"usage":%b}\n\n' % (head, _encode(usage(count)))


def _document(head: dict[str, Any], kind: str, choices: list[dict[str, Any]], count: TokenCount | None) -> Answer:
    body: dict[str, Any] = {"id": head["id"], "object": kind, "created": head["created"], "model": head["model"], "choices": choices}
    if count is not None and not count.estimated:
        # What we only guess, the gateway guesses as well, and says so.
        body["usage"] = usage(count)
    return Answer(200, _JSON, _encode(body))


async def _embeddings(generator: Generator, request: EmbeddingRequest) -> Answer:
    made = await generator.embed(request)
    data = [
        {"object": "embedding", "index": at, "embedding": base64.b64encode(vector).decode() if request.base64 else _floats(vector)}
        for at, vector in enumerate(made.vectors)
    ]
    tokens = {"prompt_tokens": made.prompt_tokens, "total_tokens": made.prompt_tokens}
    return Answer(200, _JSON, _encode({"object": "list", "data": data, "model": request.model, "usage": tokens}))


def _floats(vector: bytes) -> list[float]:
    floats = array("f", vector)
    return floats.tolist()
