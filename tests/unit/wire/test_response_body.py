"""What the Responses API asks, as chat completions ask it; and everything that they cannot ask."""

import json
from itertools import count
from typing import Any

import pytest

from penstock.domain.errors import BadRequest, InvalidJson, PenstockError, UnsupportedParameter
from penstock.wire.responses.body import chat_body, decode, skeleton
from penstock.wire.responses.items import input_items, named_items

TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True, "description": "looks"}
OTHER = {"type": "function", "name": "listen"}
CHAT_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}, "strict": True, "description": "looks"}}
CHAT_OTHER = {"type": "function", "function": {"name": "listen"}}


def chat(**fields: Any) -> dict[str, Any]:
    """The chat body of a request with these fields."""
    body = decode(json.dumps({"model": "m", "input": "hi", **fields}).encode())
    made: dict[str, Any] = json.loads(chat_body(body, input_items(body.input)))
    return made


def said(*items: Any) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = chat(input=list(items))["messages"]
    return messages


def test_a_text_is_a_message_of_the_user() -> None:
    assert chat() == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_instructions_come_first() -> None:
    assert [message["role"] for message in chat(instructions="be brief")["messages"]] == ["system", "user"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_output_tokens": 5}, {"max_tokens": 5}),
        ({"temperature": 0.5, "top_p": 0.25}, {"temperature": 0.5, "top_p": 0.25}),
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"service_tier": "flex", "user": "u", "safety_identifier": "s", "prompt_cache_key": "k"}, None),
        ({"text": {"verbosity": "low", "format": {"type": "text"}}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}},
        ),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"include": ["reasoning.encrypted_content"]}, {}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"generate_summary": "concise"}, "client_metadata": {"session": "1"}}, {}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"tools": [TOOL]}, {"tools": [CHAT_TOOL]}),
        (
            {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
            {"tools": [CHAT_TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            {"tools": [TOOL, OTHER], "tool_choice": {"type": "function", "name": "listen"}},
            {"tools": [CHAT_TOOL, CHAT_OTHER], "tool_choice": {"type": "function", "function": {"name": "listen"}}},
        ),
        (
            {
                "tools": [TOOL, OTHER],
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "listen"}]},
            },
            {"tools": [CHAT_OTHER], "tool_choice": "auto"},
        ),
        ({"metadata": {"a": "b"}, "store": False, "background": None, "truncation": "disabled"}, {}),
        ({"conversation": None, "prompt": None, "max_tool_calls": None, "stream_options": None, "tool_choice": "auto"}, {}),
    ],
)
def test_every_field_of_a_response_becomes_a_chat_field(fields: dict[str, Any], expected: dict[str, Any] | None) -> None:
    asked = chat(**fields)
    assert asked == {"model": "m", "messages": [{"role": "user", "content": "hi"}], **(fields if expected is None else expected)}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"context_management": []}, "context_management"),
        ({"prompt_cache_options": {}}, "prompt_cache_options"),
        ({"moderation": {}}, "moderation"),
        ({"truncation": "auto"}, "truncation"),
        ({"made_up": 1}, "made_up"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"background": True, "stream": True}, "stream"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{**TOOL, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [TOOL], "tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice.type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"type": 5}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}]}, "input[0].content[0].file_id"),
        ({"input": [{"role": "user", "content": "x", "made_up": 1}]}, "input[0].made_up"),
    ],
)
def test_unsupported_response_field_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        chat(**fields)
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": []}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
        ({"input": [{"type": "function_call", "name": "x"}]}, "input[0].call_id"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"metadata": {"k": 5}}, "metadata[...]"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "perhaps"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "fly"}}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"background": True, "store": False}, "background"),
        ({"stream_options": {}}, "stream_options"),
    ],
)
def test_invalid_response_field_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        chat(**fields)
    assert (type(raised.value), raised.value.param) == (BadRequest, param)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model": "m"', b"\xff", b"[" * 100 + b"]" * 100, b'"x"', b"null"])
def test_response_body_that_is_not_an_object_is_refused(body: bytes) -> None:
    with pytest.raises(PenstockError) as raised:
        decode(body)
    assert isinstance(raised.value, InvalidJson | BadRequest)


def test_every_content_part_becomes_a_chat_part() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,xx", "detail": "low"}
    audio = {"type": "input_audio", "input_audio": {"data": "xx", "format": "wav"}}
    assert said({"role": "user", "content": [{"type": "input_text", "text": "what?"}, image, audio]}) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,xx", "detail": "low"}},
                audio,
            ],
        }
    ]
    assert said({"role": "developer", "content": [{"type": "input_text", "text": "one"}]}) == [{"role": "developer", "content": "one"}]


def test_a_turn_of_the_assistant_is_one_message() -> None:
    """As an answer's own output comes back: thought, said, called twice, and what the calls gave."""
    assert said(
        {"role": "user", "content": "weather?"},
        {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "I should look."}],
            "status": "completed",
        },
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Looking.", "annotations": [], "logprobs": []}],
        },
        {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}", "status": "completed"},
        {"id": "fc_2", "type": "function_call", "call_id": "call_2", "name": "listen", "arguments": "[]", "status": "completed"},
        {"type": "function_call_output", "call_id": "call_1", "output": "sun"},
        {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "birds"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Enough."}]},
    ) == [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": "Looking.",
            "reasoning_content": "I should look.",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                {"id": "call_2", "type": "function", "function": {"name": "listen", "arguments": "[]"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
        {"role": "tool", "tool_call_id": "call_2", "content": "birds"},
        {"role": "assistant", "content": "", "reasoning_content": "Enough."},
    ]


def test_kept_items_have_ids_and_parts() -> None:
    numbers = count(1)
    kept = named_items(
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "ho", "id": "msg_own"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
        ],
        lambda prefix: f"{prefix}_{next(numbers)}",
    )
    assert kept == [
        {"id": "msg_1", "type": "message", "status": "completed", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {
            "id": "msg_own",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "ho", "annotations": []}],
        },
        {"id": "fco_2", "type": "function_call_output", "status": "completed", "call_id": "c", "output": "x"},
    ]
    assert said(*kept) == said(
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
        {"type": "function_call_output", "call_id": "c", "output": "x"},
    )


def test_skeleton_of_a_response_repeats_the_request() -> None:
    body = decode(
        json.dumps(
            {
                "model": "m",
                "input": "x",
                "tools": [OTHER],
                "text": {"format": {"type": "json_object"}},
                "background": True,
                "metadata": {"a": "b"},
            }
        ).encode()
    )
    shown = skeleton(body, "resp_1", 7.9)
    assert (shown["id"], shown["created_at"], shown["status"], shown["background"]) == ("resp_1", 7, "queued", True)
    assert (shown["text"], shown["metadata"], shown["output"]) == ({"format": {"type": "json_object"}}, {"a": "b"}, [])
    assert shown["tools"] == [{**OTHER, "description": None, "parameters": None, "strict": None}]
