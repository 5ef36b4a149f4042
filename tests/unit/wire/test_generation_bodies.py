"""What OpenAI bodies mean to an engine."""

from typing import Any

import msgspec
import pytest

from penstock.domain.errors import BadRequest, InvalidJson, UnsupportedParameter
from penstock.domain.inference import Operation
from penstock.domain.ports.engine import Conversation, EmbeddingRequest, GenerationRequest, Message, Tool, ToolCall, ToolChoice
from penstock.wire.chat.generation_bodies import MOST_TEXTS, embedding_request, generation_request


def chat(**body: Any) -> GenerationRequest:
    given = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **body}
    return generation_request(Operation.CHAT, msgspec.json.encode(given))


def completion(**body: Any) -> GenerationRequest:
    return generation_request(Operation.COMPLETION, msgspec.json.encode({"model": "m", "prompt": "Hi", **body}))


def embedding(**body: Any) -> EmbeddingRequest:
    return embedding_request(msgspec.json.encode({"model": "m", **body}))


def test_the_least_that_can_be_asked() -> None:
    assert chat() == GenerationRequest(operation=Operation.CHAT, model="m", prompts=(Conversation((Message("user", "Hi"),)),))
    assert completion() == GenerationRequest(operation=Operation.COMPLETION, model="m", prompts=("Hi",))
    assert embedding(input="Hi") == EmbeddingRequest(model="m", inputs=("Hi",))


def test_every_chat_field_reaches_the_generation_request() -> None:
    request = chat(
        n=2,
        max_tokens=5,
        max_completion_tokens=7,
        stop="x",
        seed=3,
        temperature=0.5,
        top_p=0.9,
        presence_penalty=1,
        frequency_penalty=-1,
        logit_bias={"5": -100},
        logprobs=True,
        top_logprobs=2,
        tools=[{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        parallel_tool_calls=True,
        response_format={"type": "json_object"},
        ignore_eos=True,
        stream=True,
        stream_options={"include_usage": True},
        unknown={"passes": True},
    )
    assert request == GenerationRequest(
        operation=Operation.CHAT,
        model="m",
        prompts=(Conversation((Message("user", "Hi"),)),),
        choices=2,
        max_tokens=7,
        stop=("x",),
        seed=3,
        temperature=0.5,
        top_p=0.9,
        presence_penalty=1.0,
        frequency_penalty=-1.0,
        logit_bias={5: -100.0},
        top_logprobs=2,
        tools=(Tool("f", {"type": "object"}, "d"),),
        tool_choice=ToolChoice("named", "f"),
        parallel_tool_calls=True,
        json_schema={"type": "object"},
        ignore_eos=True,
        stream=True,
        include_usage=True,
    )


def test_message_of_every_kind_is_read() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]
    assert chat(messages=messages).prompts == (
        Conversation(
            (
                Message("developer", "Be brief"),
                Message("assistant", "", (ToolCall("c1", "f", "{}"),)),
                Message("tool", "42", tool_call_id="c1"),
            )
        ),
    )


@pytest.mark.parametrize(
    ("prompt", "prompts"), [(["a", "b"], ("a", "b")), ([1, 2], ((1, 2),)), ([[1], [2, 3]], ((1,), (2, 3))), ("", ("",))]
)
def test_prompt_of_every_form_is_read(prompt: Any, prompts: object) -> None:
    assert completion(prompt=prompt).prompts == prompts


def test_no_prompt_at_all_is_the_callers_mistake() -> None:
    with pytest.raises(BadRequest) as caught:
        completion(prompt=[])
    assert caught.value.param == "prompt"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
    ],
)
def test_unsupported_field_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        completion(**body)
    assert caught.value.param == param


def test_an_image_is_not_read_over() -> None:
    content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]
    with pytest.raises(UnsupportedParameter) as caught:
        chat(messages=[{"role": "user", "content": "Hi"}, {"role": "user", "content": content}])
    assert caught.value.param == "messages[1].content"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"stop": ["x", ""]}, "stop"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": {"function": {"name": "g"}}}, "tool_choice"),
    ],
)
def test_contradictions_in_chat_are_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        chat(**body)
    assert caught.value.param == param


@pytest.mark.parametrize("given", [{}, {"prompt": ["a", 1]}, {"prompt": [1.5]}, {"prompt": ["x"] * (MOST_TEXTS + 1)}])
def test_invalid_prompt_is_named(given: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        generation_request(Operation.COMPLETION, msgspec.json.encode({"model": "m", **given}))
    assert (caught.value.param or "").startswith("prompt")


@pytest.mark.parametrize("given", [{}, {"input": []}, {"input": ["a", ""]}, {"input": "x", "dimensions": 0}])
def test_invalid_embedding_input_is_named(given: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        embedding(**given)


@pytest.mark.parametrize("body", [b"", b"{", b'{"model": "\xff"}', b'{"a":' * 3000])
def test_invalid_json_is_refused_as_invalid_json(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        generation_request(Operation.CHAT, body)
