"""Reasoning under one name, whatever the server calls it and wherever its pieces end."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.chat.reasoning import ReasoningStream, ThoughtSplitter, normalised_reply
from penstock.wire.chat.relay import Relay


def whole(message: dict[str, Any]) -> dict[str, Any]:
    reply = json.loads(normalised_reply(json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()))
    found: dict[str, Any] = reply["choices"][0]["message"]
    return found


def event(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}).encode() + b"\n\n"


def streamed(events: list[bytes]) -> dict[int, tuple[str, str]]:
    """By choice, the reasoning and the content that a client puts together."""
    relay = Relay(usage_wanted=True, service_tier="default", rewrite=ReasoningStream())
    out = b"".join([relay.feed(each) for each in [*events, b"data: [DONE]\n\n"]])
    found: dict[int, tuple[str, str]] = {}
    for each in out.split(b"\n\n")[:-1]:
        choice = json.loads(each[6:])["choices"][0]
        thought, answer = found.get(choice["index"], ("", ""))
        delta = choice["delta"]
        assert not delta.keys() & {"reasoning", "thinking"}
        found[choice["index"]] = thought + (delta.get("reasoning_content") or ""), answer + (delta.get("content") or "")
    return found


@pytest.mark.parametrize(
    ("message", "thought", "answer"),
    [
        ({"content": "4", "reasoning_content": "Let me see"}, "Let me see", "4"),
        ({"content": "4", "reasoning": "Let me see"}, "Let me see", "4"),
        ({"content": "4", "thinking": "Let me see"}, "Let me see", "4"),
        ({"content": "4", "reasoning": "Let me see", "reasoning_content": "Let me see"}, "Let me see", "4"),
        ({"content": "<think>\nLet me see\n</think>\n\n4"}, "Let me see\n", "4"),
        ({"content": "\n<thinking>Let me see</thinking>4"}, "Let me see", "4"),
        ({"content": "Let me see\n</think>\n\n4"}, "Let me see", "4"),
        ({"content": "<think>cut off by max_tokens"}, "cut off by max_tokens", ""),
        ({"content": "The tag <think> is text </think> here"}, None, "The tag <think> is text </think> here"),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]}, {"type": "text", "text": "4"}]},
            "Let me see.",
            "4",
        ),
        ({"content": None, "tool_calls": []}, None, None),
    ],
)
def test_reasoning_of_a_whole_answer_gets_its_one_name(message: dict[str, Any], thought: str | None, answer: str | None) -> None:
    found = whole({"role": "assistant", **message})
    assert (found.get("reasoning_content"), found["content"]) == (thought, answer)
    assert not found.keys() & {"reasoning", "thinking"}


@pytest.mark.parametrize("body", [b"rubbish", b"[]", b'{"data":[]}', b'{"choices":[1,{"message":2}]}'])
def test_body_without_messages_is_left_alone(body: bytes) -> None:
    assert normalised_reply(body) in (body, body.replace(b" ", b""))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=40))
def test_tags_are_found_wherever_the_pieces_of_a_stream_end(sizes: list[int]) -> None:
    text = "<think>\nOne < two </thin? yes</think>\n\nThe <think> answer"
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    pieces.append(text[at:])
    events = [event({"content": piece}) for piece in pieces] + [event({}, "stop")]
    assert streamed(events) == {0: ("One < two </thin? yes", "The <think> answer")}


def test_text_that_only_looks_like_a_tag_arrives_with_the_end() -> None:
    assert streamed([event({"content": "<thi"}), event({}, "length")]) == {0: ("", "<thi")}
    assert streamed([event({"content": "<think>a</th"}), event({}, "length")]) == {0: ("a</th", "")}


def test_choices_of_a_stream_think_apart() -> None:
    events = [event({"content": "<think>a"}, index=0), event({"content": "plain"}, index=1), event({"content": "</think>b"}, "stop")]
    assert streamed([*events, event({"content": " text"}, "stop", 1)]) == {0: ("a", "b"), 1: ("", "plain text")}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_of_a_stream_gets_its_one_name_and_is_counted(name: str) -> None:
    relay = Relay(usage_wanted=True, service_tier="default", rewrite=ReasoningStream())
    out = b"".join(relay.feed(each) for each in (event({name: "Let me "}), event({name: "see"}), event({"content": "4"}, "stop")))
    assert (out.count(b'"reasoning_content":'), relay.seen().size, relay.seen().reasoning) == (2, 11, 10)


@given(st.text(alphabet="<>/think ab\n", max_size=40), st.integers(1, 5))
def test_division_does_not_depend_on_the_pieces(text: str, size: int) -> None:
    def divided(pieces: list[str]) -> tuple[str, str]:
        splitter = ThoughtSplitter()
        parts = [splitter.feed(piece) for piece in pieces] + [splitter.end()]
        return "".join(part[0] for part in parts), "".join(part[1] for part in parts)

    assert divided([text[at : at + size] for at in range(0, len(text), size)]) == divided([text])
