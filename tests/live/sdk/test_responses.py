"""The Responses API through the SDK's own calls."""

import json
import time
from typing import Any

import pytest
from openai import APIStatusError, NotFoundError, OpenAI

from tests.live.sdk.target import Target

TOOL: Any = {
    "type": "function",
    "name": "get_level",
    "description": "The water level of a river.",
    "parameters": {"type": "object", "properties": {"river": {"type": "string"}}, "required": ["river"], "additionalProperties": False},
    "strict": True,
}


def test_response_has_text_and_usage(client: OpenAI, target: Target) -> None:
    answer = client.responses.create(model=target.model, input="The river", instructions="Be brief.", max_output_tokens=12)
    assert answer.id.startswith("resp_")
    assert (answer.object, answer.model, answer.instructions) == ("response", target.model, "Be brief.")
    assert answer.status in ("completed", "incomplete")
    assert answer.output_text
    assert answer.usage is not None
    assert 0 < answer.usage.output_tokens <= 12
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert client.responses.retrieve(answer.id).output_text == answer.output_text
    client.responses.delete(answer.id)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(answer.id)


def test_a_stream_is_the_same_as_the_whole(client: OpenAI, target: Target) -> None:
    asked: Any = {"model": target.model, "input": "The dam", "max_output_tokens": 16, "temperature": 0, "store": False}
    whole = client.responses.create(**asked)
    events: list[Any] = list(client.responses.create(**asked, stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == f"response.{whole.status}"
    assert events[-1].response.usage == whole.usage


def test_the_sdks_own_streaming_helper(client: OpenAI, target: Target) -> None:
    with client.responses.stream(model=target.model, input="The lake") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text


def test_conversation_continues_from_the_previous_response(client: OpenAI, target: Target) -> None:
    first = client.responses.create(model=target.model, input="The river", max_output_tokens=8)
    second = client.responses.create(model=target.model, input="and the sea", previous_response_id=first.id, max_output_tokens=8)
    assert second.previous_response_id == first.id
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    items: Any = list(client.responses.input_items.list(second.id))
    assert [item.content[0].text for item in items] == ["and the sea"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call(client: OpenAI, target: Target, stream: bool) -> None:
    asked: Any = {"model": target.model, "input": "How high is the Rhine?", "tools": [TOOL], "tool_choice": "required"}
    if stream:
        events: list[Any] = list(client.responses.create(**asked, stream=True))
        answer = events[-1].response
        pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
        assert "".join(pieces) == answer.output[-1].arguments
    else:
        answer = client.responses.create(**asked)
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert call.name == "get_level"
    assert set(json.loads(call.arguments)) == {"river"}
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "3 m"}
    final = client.responses.create(
        model=target.model, input=[result], previous_response_id=answer.id, tools=[TOOL], tool_choice="none", max_output_tokens=8
    )
    assert final.output_text


def test_json_of_a_schema(client: OpenAI, target: Target) -> None:
    schema = {"type": "object", "properties": {"high": {"type": "boolean"}}, "required": ["high"], "additionalProperties": False}
    text: Any = {"format": {"type": "json_schema", "name": "level", "schema": schema, "strict": True}}
    answer = client.responses.create(model=target.model, input="Is it high?", text=text)
    assert isinstance(json.loads(answer.output_text)["high"], bool)


def test_in_the_background(client: OpenAI, target: Target) -> None:
    answer = client.responses.create(model=target.model, input="The river", background=True, max_output_tokens=8)
    deadline = time.monotonic() + 30
    while answer.status in ("queued", "in_progress"):
        assert time.monotonic() < deadline, answer.status
        time.sleep(0.05)
        answer = client.responses.retrieve(answer.id)
    assert answer.status in ("completed", "incomplete")
    assert answer.output_text
    assert client.responses.cancel(answer.id).status == answer.status


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"model": "no/such-model"}, 404, "model_not_found"),
        ({"conversation": "conv_1"}, 400, "unsupported_parameter"),
        ({"tools": [{"type": "web_search"}]}, 400, "unsupported_parameter"),
        ({"truncation": "auto"}, 400, "unsupported_parameter"),
        ({"temperature": 7}, 400, "invalid_request_error"),
        ({"previous_response_id": "resp_nothing"}, 400, "invalid_request_error"),
    ],
)
def test_wrong_requests_are_refused(client: OpenAI, target: Target, fields: dict[str, Any], status: int, code: str) -> None:
    asked: Any = {"model": target.model, "input": "hi", **fields}
    with pytest.raises(APIStatusError) as raised:
        client.responses.create(**asked)
    assert (raised.value.status_code, raised.value.code) == (status, code)
