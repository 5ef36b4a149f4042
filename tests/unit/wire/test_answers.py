"""A generator's events as OpenAI writes them."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
import pytest

from penstock.domain.errors import ContextLengthExceeded, UpstreamFailed
from penstock.domain.inference import Operation
from penstock.domain.ports.engine import (
    Answer,
    Embedded,
    EmbeddingRequest,
    Event,
    Finished,
    GenerationRequest,
    Started,
    Token,
    TokenLogprob,
    ToolCallArguments,
    ToolCallStarted,
)
from penstock.domain.tokens import TokenCount
from penstock.wire.chat.generation_replies import PROMPT_TOKENS, answer

COUNT = TokenCount(prompt=3, completion=2, cached=1, reasoning=1)
USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 2,
    "total_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


class Written:
    """A generator that says what a test wrote down; notes that it was closed."""

    def __init__(self, *batches: Sequence[Event], error: Exception | None = None) -> None:
        self._batches = batches
        self._error = error
        self.closed = False

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Sequence[Event], None]:
        try:
            for batch in self._batches:
                yield batch
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True

    async def embed(self, request: EmbeddingRequest) -> Embedded:
        return Embedded((b"\x00\x00\x80\x3f",), 2)


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "prompt": "Hi", **fields})


async def streamed(generator: Written, operation: Operation = Operation.CHAT, **fields: Any) -> tuple[Answer, list[bytes]]:
    made = await answer(generator, operation, body(stream=True, **fields), "x", 7)
    assert not isinstance(made.body, bytes)
    return made, [chunk async for chunk in made.body]


def said(*events: Event) -> Written:
    return Written([Started(3)], [*events, Finished(0, "stop")], [COUNT])


async def test_non_stream_chat_answer_has_text_reason_and_usage() -> None:
    made = await answer(said(Token(0, "Hel"), Token(0, "lo")), Operation.CHAT, body(), "x", 7)
    assert isinstance(made.body, bytes)
    assert msgspec.json.decode(made.body) == {
        "id": "chatcmpl-x",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }


async def test_non_stream_completion_has_text_reason_and_usage() -> None:
    logprob = TokenLogprob("Hel", -0.5, (("Hel", -0.5),))
    made = await answer(said(Token(0, "Hel", logprob), Token(0, "lo", TokenLogprob("lo", -1.0))), Operation.COMPLETION, body(), "x", 7)
    assert isinstance(made.body, bytes)
    whole = msgspec.json.decode(made.body)
    assert (whole["id"], whole["object"], whole["usage"]) == ("cmpl-x", "text_completion", USAGE)
    logprobs = {"tokens": ["Hel", "lo"], "token_logprobs": [-0.5, -1.0], "top_logprobs": [{"Hel": -0.5}, {}], "text_offset": [0, 3]}
    assert whole["choices"] == [{"index": 0, "text": "Hello", "logprobs": logprobs, "finish_reason": "stop"}]


async def test_a_stream_says_what_came_together_at_once() -> None:
    made, pieces = await streamed(said(Token(0, "Hel"), Token(0, "lo")))
    assert [piece.count(b"data: ") for piece in pieces] == [1, 3, 0, 1]
    assert dict(made.headers)[PROMPT_TOKENS] == b"3"
    assert dict(made.headers)[b"content-type"].startswith(b"text/event-stream")


async def test_an_engine_that_does_not_count_answers_without_usage() -> None:
    made = await answer(Written([Started(0), Token(0, "a"), Finished(0, "stop")]), Operation.CHAT, body(), "x", 7)
    assert isinstance(made.body, bytes)
    assert "usage" not in msgspec.json.decode(made.body)


async def test_answer_with_text_and_tool_calls_has_both() -> None:
    events = (Token(0, "Look: "), ToolCallStarted(0, 0, "c", "f"), ToolCallArguments(0, 0, "{}"))
    made = await answer(said(*events), Operation.CHAT, body(), "x", 7)
    assert isinstance(made.body, bytes)
    message = msgspec.json.decode(made.body)["choices"][0]["message"]
    assert message["content"] == "Look: "
    assert message["tool_calls"] == [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.COMPLETION])
async def test_every_chunk_is_json_whatever_the_text(operation: Operation) -> None:
    text = '"\n\x00\u2028é😀\\'
    _, pieces = await streamed(said(Token(0, text)), operation, stream_options={"include_usage": True})
    events = b"".join(pieces).removesuffix(b"\n\n").split(b"\n\n")
    assert events.pop() == b"data: [DONE]"
    chunks = [msgspec.json.decode(event.removeprefix(b"data: ")) for event in events]
    texts = [choice.get("text") or choice.get("delta", {}).get("content") for chunk in chunks for choice in chunk["choices"]]
    assert text in texts
    assert chunks[-1]["usage"] == USAGE


async def test_refused_generation_has_no_answer() -> None:
    refusing = Written(error=ContextLengthExceeded("too long"))
    for stream in (False, True):
        with pytest.raises(ContextLengthExceeded):
            await answer(refusing, Operation.CHAT, body(stream=stream), "x", 7)


async def test_a_failure_in_mid_stream_reaches_the_reader() -> None:
    made = await answer(Written([Started(1), Token(0, "a")], error=UpstreamFailed("gone")), Operation.CHAT, body(stream=True), "x", 7)
    assert not isinstance(made.body, bytes)
    assert b'"a"' in await anext(made.body)
    with pytest.raises(UpstreamFailed):
        await anext(made.body)


async def test_closing_the_stream_closes_the_generator() -> None:
    generator = said(Token(0, "a"))
    made = await answer(generator, Operation.CHAT, body(stream=True), "x", 7)
    assert not isinstance(made.body, bytes)
    await anext(made.body)
    assert not generator.closed
    await made.body.aclose()
    assert generator.closed


@pytest.mark.parametrize(("encoding", "vector"), [("float", [1.0]), ("base64", "AACAPw==")])
async def test_embedding_is_written_as_floats_or_base64(encoding: str, vector: object) -> None:
    made = await answer(Written(), Operation.EMBEDDING, body(input="a", encoding_format=encoding), "x", 7)
    assert isinstance(made.body, bytes)
    assert msgspec.json.decode(made.body) == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "model": "m",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }
