"""A chat stream as the events of a Response: read by the SDK's own types, and the same as the whole answer."""

import json
from itertools import count
from typing import Any

import pytest
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from penstock.wire.responses.body import decode, skeleton
from penstock.wire.responses.items import Json
from penstock.wire.responses.writer import ResponseWriter, answered, failed, framed
from penstock.wire.sse import DONE, KEEPALIVE

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def ids() -> Any:
    numbers = count(1)
    return lambda prefix: f"{prefix}_{next(numbers)}"


def document(**fields: Any) -> Json:
    return skeleton(decode(json.dumps({"model": "m", "input": "x", **fields}).encode()), "resp_1", 1.0)


def chunk(delta: Json, reason: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason, **fields}
    return b"data: " + json.dumps({"service_tier": "default", "model": "m", "choices": [choice]}).encode() + b"\n\n"


def streamed(*chunks: bytes, with_logprobs: bool = False) -> list[Json]:
    """The events of a whole stream, each checked against the SDK's type of that name."""
    writer = ResponseWriter(document(), ids(), with_logprobs=with_logprobs)
    out = framed(writer.begin())
    for each in chunks:
        out += writer.feed(each)
    if writer.is_whole:
        out += framed(writer.finish(9.0))
    found = []
    for event in out.split(b"\n\n"):
        if event and not event.startswith(b":"):
            name, _, data = event.partition(b"\ndata: ")
            found.append(json.loads(data))
            assert name == b"event: " + found[-1]["type"].encode()
            assert type(EVENT.validate_python(found[-1])).__name__ != "dict"
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert sum(event["type"] in ("response.completed", "response.incomplete", "response.failed") for event in found) == 1
    return found


def kinds(events: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_text_stream_becomes_response_events_in_order() -> None:
    usage = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n"
    events = streamed(
        chunk({"role": "assistant", "content": ""}),
        KEEPALIVE,
        chunk({"content": "The "}) + chunk({"content": "river"}),
        chunk({}, "stop"),
        usage + DONE,
    )
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    answer = Response.model_validate(events[-1]["response"])
    assert (answer.output_text, answer.status, answer.service_tier) == ("The river", "completed", "default")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (7, 5, 12)
    assert (answer.usage.input_tokens_details.cached_tokens, answer.usage.output_tokens_details.reasoning_tokens) == (3, 2)


def test_comments_pass_through() -> None:
    assert ResponseWriter(document(), ids()).feed(KEEPALIVE) == KEEPALIVE


def test_reasoning_text_and_calls_are_items_in_order() -> None:
    events = streamed(
        chunk({"reasoning_content": "hm"}),
        chunk({"reasoning": "m"}),
        chunk({"content": "Let me look."}),
        chunk({"tool_calls": [{"index": 0, "id": "call_a", "type": "function", "function": {"name": "look", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
        chunk({"tool_calls": [{"index": 1, "id": "call_b", "type": "function", "function": {"name": "listen", "arguments": "{}"}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}),
        chunk({}, "tool_calls"),
        DONE,
    )
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert output[0]["content"] == [{"type": "reasoning_text", "text": "hmm"}]
    assert [(item["call_id"], item["name"], item["arguments"]) for item in output[2:]] == [
        ("call_a", "look", '{"a": 1}'),
        ("call_b", "listen", "{}"),
    ]
    assert {item["status"] for item in output} == {"completed"}
    added = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    done = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]
    assert (added, sorted(done)) == ([0, 1, 2, 3], [0, 1, 2, 3])


PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]}, {"type": "text", "text": "It is 4."}]


def test_content_in_parts_is_reasoning_and_text() -> None:
    events = streamed(
        chunk({"content": PARTS[:1]}), chunk({"content": "It "}), chunk({"content": [PARTS[1], "!"]}), chunk({}, "stop"), DONE
    )
    thought, message = events[-1]["response"]["output"]
    assert thought["content"] == [{"type": "reasoning_text", "text": "Let me see."}]
    assert message["content"][0]["text"] == "It It is 4.!"
    reply = json.dumps({"choices": [{"message": {"content": PARTS}, "finish_reason": "stop"}]}).encode()
    whole = answered(document(), reply, ids(), 9.0, with_logprobs=False)
    assert [item["content"][0]["text"] for item in whole["output"]] == ["Let me see.", "It is 4."]


def call(arguments: Any, **fields: Any) -> Json:
    name = {"name": fields.pop("name")} if "name" in fields else {}
    return {**fields, "type": "function", "function": {**name, "arguments": arguments}}


CALLS = {
    "one index for all": [call('{"x":1}', index=0, id="a", name="f"), call('{"y":', index=0, id="b", name="g"), call("2}", index=0)],
    "no index": [call('{"x":1}', id="a", name="f"), call('{"y":', id="b", name="g"), call("2}")],
    "the id again with each piece": [
        call('{"x":', index=0, id="a", name="f"),
        call("1}", index=0, id="a"),
        call('{"y":2}', index=1, id="b", name="g"),
    ],
    "arguments as an object": [call({"x": 1}, index=0, id="a", name="f"), call({"y": 2}, index=1, id="b", name="g")],
    "the name again with each piece": [
        call('{"x":', index=0, id="a", name="f"),
        call("1}", index=0, id="a", name="f"),
        call('{"y":2}', index=0, id="b", name="g"),
    ],
}


@pytest.mark.parametrize("calls", CALLS.values(), ids=CALLS.keys())
def test_parallel_calls_stay_apart(calls: list[Json]) -> None:
    events = streamed(*(chunk({"tool_calls": [one]}) for one in calls), chunk({}, "tool_calls"), DONE)
    output = events[-1]["response"]["output"]
    assert [(item["call_id"], item["name"], item["arguments"]) for item in output] == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


def test_calls_without_ids_are_told_apart_by_whole_arguments() -> None:
    calls = [call('{"x":1}', index=0, name="f"), call('{"y":2}', index=0, name="f")]
    events = streamed(*(chunk({"tool_calls": [one]}) for one in calls), chunk({}, "tool_calls"), DONE)
    assert [item["arguments"] for item in events[-1]["response"]["output"]] == ['{"x":1}', '{"y":2}']


UNREADABLE = {
    "choices of numbers": {"choices": [1]},
    "a delta that is a list": {"choices": [{"delta": [1]}]},
    "calls that are texts": {"choices": [{"delta": {"tool_calls": ["x"]}}]},
    "log probabilities of texts": {"choices": [{"delta": {"content": "x"}, "logprobs": {"content": ["x"]}}]},
    "a name that is an object": {"choices": [{"delta": {"tool_calls": [{"index": [], "function": {"name": {}}}]}}]},
}


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_chunk_ends_the_response_as_failed(value: Json) -> None:
    writer = ResponseWriter(document(), ids(), with_logprobs=True)
    writer.begin()
    out = writer.feed(chunk({"content": "half"}) + b"data: " + json.dumps(value).encode() + b"\n\n" + chunk({"content": "more"}) + DONE)
    events = [json.loads(event.partition(b"\ndata: ")[2]) for event in out.split(b"\n\n")[:-1]]
    assert [event["type"] for event in events if event["type"] in ("response.completed", "response.failed")] == ["response.failed"]
    assert [event["sequence_number"] for event in events] == list(range(2, 2 + len(events)))
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "server_error"
    assert (writer.is_over, bool(writer.problem)) == (True, True)
    whole = answered(document(), json.dumps(value).replace("delta", "message").encode(), ids(), 9.0, with_logprobs=True)
    assert whole["status"] == "failed"


def test_whole_answer_that_is_no_json_is_failed() -> None:
    assert answered(document(), b"<html>", ids(), 9.0, with_logprobs=False)["status"] == "failed"


def test_a_refusal_is_a_part_of_its_own() -> None:
    events = streamed(chunk({"content": "Well. "}), chunk({"refusal": "No."}), chunk({}, "stop"), DONE)
    (message,) = events[-1]["response"]["output"]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert [event["content_index"] for event in events if event["type"].endswith("part.added")] == [0, 1]


@pytest.mark.parametrize(("reason", "told"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_answer_cut_by_the_limit_is_incomplete(reason: str, told: str) -> None:
    answer = streamed(chunk({"content": "x"}), chunk({}, reason), DONE)[-1]
    assert (answer["type"], answer["response"]["incomplete_details"]) == ("response.incomplete", {"reason": told})
    assert answer["response"]["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize(
    ("code", "told"),
    [("rate_limit_exceeded", "rate_limit_exceeded"), ("upstream_error", "server_error"), ("context_length_exceeded", "invalid_prompt")],
)
def test_stream_that_fails_ends_with_a_failed_response(code: str, told: str) -> None:
    error = b"data: " + json.dumps({"error": {"message": "It broke.", "type": "x", "param": None, "code": code}}).encode() + b"\n\n"
    events = streamed(chunk({"content": "half"}), error)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"] == {"code": told, "message": "It broke."}
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "half"


def test_log_probabilities_are_kept_with_their_text() -> None:
    logprobs = {
        "content": [{"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": [{"token": "y", "logprob": -1.0, "bytes": [121]}]}]
    }
    asked, plain = (streamed(chunk({"content": "x"}, "stop", logprobs=logprobs), DONE, with_logprobs=wanted) for wanted in (True, False))
    assert asked[-1]["response"]["output"][0]["content"][0]["logprobs"] == logprobs["content"]
    assert plain[-1]["response"]["output"][0]["content"][0]["logprobs"] == []


def test_events_already_sent_do_not_change() -> None:
    writer = ResponseWriter(document(), ids())
    begun = writer.begin()
    writer.feed(chunk({"content": "x"}, "stop") + DONE)
    assert begun[0]["response"]["output"] == []
    assert begun[0]["response"]["status"] == "in_progress"


def test_the_sdk_puts_a_stream_together() -> None:
    state: Any = ResponseStreamState(input_tools=[], text_format=omit)
    for event in streamed(chunk({"content": "The "}), chunk({"content": "dam"}), chunk({}, "stop"), DONE):
        state.handle_event(EVENT.validate_python(event))
    assert state._completed_response.output_text == "The dam"


def test_a_whole_answer_is_the_same_as_a_stream() -> None:
    call = {"id": "call_a", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    message = {"role": "assistant", "content": "text", "reasoning_content": "thought", "tool_calls": [call]}
    reply = {
        "service_tier": "default",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": USAGE,
    }
    usage = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n"
    events = streamed(
        chunk({"reasoning_content": "thought"}),
        chunk({"content": "text"}),
        chunk({"tool_calls": [{"index": 0, **call}]}),
        chunk({}, "tool_calls"),
        usage,
        DONE,
    )
    assert answered(document(), json.dumps(reply).encode(), ids(), 9.0, with_logprobs=False) == events[-1]["response"]


def test_response_that_never_began_is_failed() -> None:
    answer = failed(document(), "server_overloaded", "Busy.", ids())
    assert (answer["status"], answer["error"], answer["output"]) == ("failed", {"code": "server_error", "message": "Busy."}, [])
    assert Response.model_validate(answer).status == "failed"
