"""Tools and answers of a given form."""

from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import msgspec
import pytest

from tests.contract.compute.engines.subjects import Subject

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
        "unit": {"enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Tomorrow's weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "time"}},
]

tools = pytest.mark.feature("tools", needs="tools")
chosen = pytest.mark.feature("tool_choice")
formed = pytest.mark.feature("json_schema", needs="json_schema")


@tools
async def test_a_call_has_arguments_that_the_schema_accepts(served: Subject) -> None:
    choice = (await served.chat(tools=TOOLS))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    [call] = choice["message"]["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "weather")
    jsonschema.validate(msgspec.json.decode(call["function"]["arguments"]), WEATHER)


@tools
async def test_a_streamed_call_is_the_same_in_pieces(served: Subject) -> None:
    [call] = (await served.chat(tools=TOOLS))["choices"][0]["message"]["tool_calls"]
    stream = await served.stream(tools=TOOLS)
    pieces = [piece for chunk in stream for choice in chunk["choices"] for piece in choice["delta"].get("tool_calls", ())]
    assert {piece["index"] for piece in pieces} == {0}
    assert pieces[0]["id"]
    assert (pieces[0]["type"], pieces[0]["function"]["name"]) == ("function", "weather")
    assert "".join(piece["function"]["arguments"] for piece in pieces) == call["function"]["arguments"]
    assert stream[-1]["choices"][0]["finish_reason"] == "tool_calls"


@tools
@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("none", None),
        ("auto", "weather"),
        pytest.param("required", "weather", marks=chosen),
        pytest.param({"type": "function", "function": {"name": "time"}}, "time", marks=chosen),
    ],
)
async def test_tool_choice_decides_whether_a_tool_is_called(served: Subject, choice: object, called: str | None) -> None:
    message = (await served.chat(tools=TOOLS, tool_choice=choice))["choices"][0]["message"]
    names = [call["function"]["name"] for call in message.get("tool_calls", ())]
    assert names == ([] if called is None else [called])


@tools
@pytest.mark.feature("parallel tools")
async def test_parallel_calls_have_an_index_each(served: Subject) -> None:
    stream = await served.stream("All of them.", tools=TOOLS, parallel_tool_calls=True)
    pieces = [piece for chunk in stream for choice in chunk["choices"] for piece in choice["delta"].get("tool_calls", ())]
    assert [(piece["index"], piece["function"]["name"]) for piece in pieces if "id" in piece] == [(0, "weather"), (1, "time")]
    assert len({piece["id"] for piece in pieces if "id" in piece}) == 2


@tools
async def test_a_tools_result_is_answered_in_words(served: Subject) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bath","days":1}'}}
    messages = [
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
    ]
    choice = (await served.chat(messages=messages, tools=TOOLS))["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"]


@formed
async def test_json_schema_is_kept_in_both_forms(served: Subject) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER, "strict": True}}
    text = (await served.chat(response_format=asked))["choices"][0]["message"]["content"]
    jsonschema.validate(msgspec.json.decode(text), WEATHER)
    stream = await served.stream(response_format=asked)
    assert "".join(choice["delta"].get("content") or "" for chunk in stream for choice in chunk["choices"]) == text


@formed
async def test_json_object_format_returns_an_object(served: Subject) -> None:
    text = (await served.chat(response_format={"type": "json_object"}))["choices"][0]["message"]["content"]
    assert isinstance(msgspec.json.decode(text), dict)


@formed
async def test_json_cut_by_the_token_limit_finishes_as_length(served: Subject) -> None:
    choice = (await served.chat(response_format={"type": "json_object"}, max_tokens=2))["choices"][0]
    assert choice["finish_reason"] == "length"
