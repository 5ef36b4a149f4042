"""Chat completions: whole and streamed, with the SDK's own helpers."""

import json
from typing import Any

from openai import AsyncOpenAI, OpenAI, pydantic_function_tool
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall
from pydantic import BaseModel

from tests.live.sdk.target import Target

ASK: list[Any] = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "Where does the river end?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}, "days": {"type": "integer"}}, "required": ["town"]},
    },
}
UNICODE = "naïve 😀 漢字 \u202e العربية \u0000 \U0001f468\u200d\U0001f469\u200d\U0001f467 " * 300


class Place(BaseModel):
    name: str
    population: int
    rivers: list[str]


def test_chat_completion_has_text_and_usage(client: OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(model=target.model, messages=ASK, max_completion_tokens=12)
    assert answer.id.startswith("chatcmpl-")
    assert (answer.object, answer.model, answer.service_tier) == ("chat.completion", target.model, "default")
    (choice,) = answer.choices
    assert (choice.index, choice.finish_reason, choice.message.role) == (0, "length", "assistant")
    assert choice.message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.completion_tokens_details is not None


def test_stream_has_the_same_text_and_usage_only_on_request(client: OpenAI, target: Target) -> None:
    whole = client.chat.completions.create(model=target.model, messages=ASK, seed=1)
    chunks = list(client.chat.completions.create(model=target.model, messages=ASK, seed=1, stream=True))
    assert _text(chunks) == whole.choices[0].message.content
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert {(chunk.object, chunk.service_tier) for chunk in chunks} == {("chat.completion.chunk", "default")}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert not any(chunk.usage or "usage" in chunk.model_fields_set for chunk in chunks)


def test_a_stream_reports_usage_when_asked(client: OpenAI, target: Target) -> None:
    options: Any = {"include_usage": True}
    stream = client.chat.completions.create(model=target.model, messages=ASK, max_tokens=9, stream=True, stream_options=options)
    *before, last = list(stream)
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in before)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 9
    # One token a chunk, between the one that says who speaks and the one that says why it ends.
    assert len(before) == 1 + 9 + 1


def test_request_for_several_choices_gets_several(client: OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(model=target.model, messages=ASK, n=3, max_tokens=6)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) == 3
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 18
    chunks = list(client.chat.completions.create(model=target.model, messages=ASK, n=3, max_tokens=6, stream=True))
    assert [_text(chunks, at) for at in range(3)] == [choice.message.content for choice in answer.choices]


def test_stop_texts_are_not_shown(client: OpenAI, target: Target) -> None:
    whole = client.chat.completions.create(model=target.model, messages=ASK).choices[0].message.content or ""
    word = whole.split()[4]
    cut = client.chat.completions.create(model=target.model, messages=ASK, stop=["\n\n\n", word]).choices[0]
    assert cut.finish_reason == "stop"
    assert cut.message.content == whole[: whole.index(word)]
    assert _text(list(client.chat.completions.create(model=target.model, messages=ASK, stop=word, stream=True))) == cut.message.content


def test_a_seed_decides_the_answer(client: OpenAI, target: Target) -> None:
    texts = [
        client.chat.completions.create(model=target.model, messages=ASK, seed=seed, max_tokens=12).choices[0].message.content
        for seed in (7, 7, 8)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_logprobs_come_with_each_token(client: OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(model=target.model, messages=ASK, logprobs=True, top_logprobs=3, max_tokens=5).choices[0]
    assert answer.logprobs is not None
    tokens = answer.logprobs.content or []
    assert "".join(each.token for each in tokens) == answer.message.content
    assert all(len(each.top_logprobs) == 3 and each.logprob <= 0 and bytes(each.bytes or ()).decode() == each.token for each in tokens)
    plain = client.chat.completions.create(model=target.model, messages=ASK, max_tokens=5).choices[0]
    assert plain.logprobs is None


def test_a_tool_call_and_its_result(client: OpenAI, target: Target) -> None:
    call = client.chat.completions.create(model=target.model, messages=ASK, tools=[WEATHER], tool_choice="required").choices[0]
    assert call.finish_reason == "tool_calls"
    assert call.message.tool_calls is not None
    (made,) = call.message.tool_calls
    assert made.type == "function"
    assert made.function.name == "weather"
    assert isinstance(json.loads(made.function.arguments)["town"], str)
    conversation: list[Any] = [*ASK, call.message, {"role": "tool", "tool_call_id": made.id, "content": "sunny"}]
    after = client.chat.completions.create(model=target.model, messages=conversation, tools=[WEATHER])
    assert after.choices[0].finish_reason == "stop"
    assert after.choices[0].message.content


def test_a_streamed_tool_call(client: OpenAI, target: Target) -> None:
    pieces: list[ChoiceDeltaToolCall] = []
    for chunk in client.chat.completions.create(model=target.model, messages=ASK, tools=[WEATHER], stream=True):
        pieces += chunk.choices[0].delta.tool_calls or ()
    assert {piece.index for piece in pieces} == {0}
    first, *rest = pieces
    assert first.id
    assert first.function is not None
    assert (first.type, first.function.name) == ("function", "weather")
    assert len(rest) > 1
    assert json.loads("".join(piece.function.arguments or "" for piece in pieces if piece.function))["town"]


def test_the_stream_helper_parses_tool_arguments(client: OpenAI, target: Target) -> None:
    with client.chat.completions.stream(
        model=target.model, messages=ASK, tools=[pydantic_function_tool(Place)], parallel_tool_calls=False
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    (made,) = calls
    assert isinstance(made.function.parsed_arguments, Place)


def test_the_stream_helper_parses_text(client: OpenAI, target: Target) -> None:
    with client.chat.completions.stream(
        model=target.model, messages=ASK, response_format=Place, stream_options={"include_usage": True}
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert {"content.delta", "content.done"} <= set(kinds)
    assert isinstance(final.choices[0].message.parsed, Place)
    assert final.usage is not None
    # The chunk that says who speaks has an empty text.
    assert final.usage.completion_tokens == kinds.count("content.delta") - 1


def test_parse_gives_a_value_of_the_schema(client: OpenAI, target: Target) -> None:
    answer = client.chat.completions.parse(model=target.model, messages=ASK, response_format=Place)
    assert isinstance(answer.choices[0].message.parsed, Place)


def test_json_object_format_gives_an_object(client: OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(model=target.model, messages=ASK, response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def test_every_field_of_the_sdk_is_accepted(client: OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(
        model=target.model,
        messages=ASK,
        frequency_penalty=0.5,
        logit_bias={"5": -100},
        max_tokens=4,
        metadata={"project": "dam"},
        presence_penalty=-0.5,
        prompt_cache_key="session-1",
        reasoning_effort="low",
        safety_identifier="person-1",
        store=False,
        temperature=0,
        top_p=0.9,
        user="person-1",
        verbosity="low",
    )
    assert answer.choices[0].finish_reason == "length"


def test_unknown_fields_pass_through(client: OpenAI, target: Target) -> None:
    """`ignore_eos` is no field of OpenAI's; an engine that knows it makes exactly as many tokens as allowed."""
    extra = {"ignore_eos": True, "nobody_knows_this": {"deep": [1, None]}}
    answer = client.chat.completions.create(model=target.model, messages=ASK, max_tokens=70, extra_body=extra)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 70


def test_a_long_text_in_every_script(client: OpenAI, target: Target) -> None:
    parts: Any = [{"type": "text", "text": UNICODE}, {"type": "text", "text": "漢"}]
    counted = []
    for content in (parts, UNICODE + "漢"):
        messages: Any = [{"role": "user", "content": content}]
        answer = client.chat.completions.create(model=target.model, messages=messages, max_tokens=1)
        assert answer.usage is not None
        counted.append(answer.usage.prompt_tokens)
    assert counted[0] == counted[1] > 3_000


async def test_the_asynchronous_client(async_client: AsyncOpenAI, target: Target) -> None:
    answer = await async_client.chat.completions.create(model=target.model, messages=ASK, max_tokens=6)
    stream = await async_client.chat.completions.create(model=target.model, messages=ASK, max_tokens=6, stream=True)
    assert _text([chunk async for chunk in stream]) == answer.choices[0].message.content


def _text(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.index == index)
