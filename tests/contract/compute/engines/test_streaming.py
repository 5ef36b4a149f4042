"""The shape of a stream."""

import pytest

from tests.contract.compute.engines.subjects import Subject, chunks, text_of

pytestmark = pytest.mark.feature("streaming")


async def test_chat_stream_sends_role_then_tokens_then_finish_reason(served: Subject) -> None:
    stream = await served.stream(max_tokens=5)
    deltas = [chunk["choices"][0]["delta"] for chunk in stream]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert len(deltas) == 1 + 5 + 1
    assert all(set(delta) == {"content"} for delta in deltas[1:-1])
    assert [chunk["choices"][0]["finish_reason"] for chunk in stream] == [None] * 6 + ["length"]


async def test_id_model_and_time_are_the_same_in_every_chunk(served: Subject) -> None:
    stream = await served.stream(max_tokens=3, stream_options={"include_usage": True})
    heads = {(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in stream}
    assert len(heads) == 1
    assert heads.pop()[1] == "chat.completion.chunk"


async def test_usage_comes_only_when_asked_for(served: Subject) -> None:
    assert all("usage" not in chunk for chunk in await served.stream(max_tokens=3))


async def test_usage_is_the_last_chunk_and_null_before(served: Subject) -> None:
    stream = await served.stream(max_tokens=3, stream_options={"include_usage": True})
    assert stream[-1]["choices"] == []
    assert stream[-1]["usage"]["completion_tokens"] == 3
    assert all(chunk["usage"] is None for chunk in stream[:-1])
    assert all(chunk["choices"] for chunk in stream[:-1])


async def test_stream_and_unary_say_the_same(served: Subject) -> None:
    unary = await served.chat(seed=7)
    stream = await served.stream(seed=7, stream_options={"include_usage": True})
    assert text_of(stream) == unary["choices"][0]["message"]["content"]
    assert stream[-1]["usage"] == unary["usage"]


@pytest.mark.feature("prompt counted first")
async def test_the_prompt_is_counted_before_the_first_byte(served: Subject) -> None:
    response = await served.post("/v1/chat/completions", messages=[{"role": "user", "content": "How many?"}], stream=True, max_tokens=1)
    assert response.headers["content-type"].startswith("text/event-stream")
    unary = await served.chat("How many?", max_tokens=1)
    assert int(response.headers["x-penstock-prompt-tokens"]) == unary["usage"]["prompt_tokens"]


@pytest.mark.feature("legacy completions", needs="completions")
async def test_a_legacy_completion_streams_text(served: Subject) -> None:
    asked = {"prompt": "Once upon", "max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}}
    stream = chunks((await served.post("/v1/completions", **asked)).text)
    unary = (await served.post("/v1/completions", prompt="Once upon", max_tokens=4)).json()
    assert "".join(one["text"] for chunk in stream for one in chunk["choices"]) == unary["choices"][0]["text"]
    assert {chunk["object"] for chunk in stream} == {"text_completion"} == {unary["object"]}
    assert stream[-1]["usage"] == unary["usage"]
