"""Tokens to text: whole characters, nothing of a stop text, calls as calls. Tokens are bytes here."""

import itertools
from collections.abc import Sequence

import pytest

from penstock.compute.engines._transformers.speech import Characters, Speech
from penstock.domain.ports.engine import Event, Finished, Token, ToolCallArguments, ToolCallStarted


def decode(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


def say(text: str | bytes, *, tools: bool = False, several: bool = True, stops: Sequence[str] = (), piece: int = 1) -> list[Event]:
    """The events of a text that comes byte by byte."""
    numbers = itertools.count(1)
    speech = Speech(0, Characters(decode), stops, (lambda: f"call_{next(numbers)}") if tools else None, several)
    events: list[Event] = []
    for byte in text.encode() if isinstance(text, str) else text:
        events += speech.token(byte)
        if speech.stopped:
            break
    return [*events, *speech.end("stop" if speech.stopped else "length")]


def shown(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


@pytest.mark.parametrize("text", ["water", "Größe", "日本語 🙂 ok", "e\N{COMBINING ACUTE ACCENT}"])
def test_character_split_over_tokens_comes_whole(text: str) -> None:
    events = say(text)
    assert [event.text for event in events if isinstance(event, Token)] == list(text)
    assert events[-1] == Finished(0, "length")


def test_bytes_that_never_become_a_character_are_shown_at_the_end() -> None:
    assert shown(say(b"ab\xf0\x9f")) == "ab\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one two three", ["two"], "one "),
        ("one two three", ["three", "two"], "one "),
        ("ababac", ["abac"], "ab"),
        ("one tw", ["two"], "one tw"),
        ("aaab", ["aab"], "a"),
        ("grün", ["ün"], "gr"),
    ],
)
def test_a_stop_text_is_never_shown_not_even_its_beginning(text: str, stops: list[str], expected: str) -> None:
    events = say(text, stops=stops)
    assert shown(events) == expected
    assert events[-1] == Finished(0, "stop" if expected != text else "length")


CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bath"}}\n</tool_call>'


def test_tool_call_text_becomes_a_tool_call() -> None:
    speech = Speech(0, Characters(decode), (), lambda: "call_1")
    events = [event for byte in CALL.encode() for event in speech.token(byte)] + speech.end("stop")
    assert events == [ToolCallStarted(0, 0, "call_1", "weather"), ToolCallArguments(0, 0, '{"city":"Bath"}'), Finished(0, "tool_calls")]


def test_text_before_a_call_is_shown_and_blanks_between_calls_are_not() -> None:
    events = say(f"Let me look. {CALL}\n{CALL}", tools=True)
    assert shown(events) == "Let me look. "
    assert [event.index for event in events if isinstance(event, ToolCallStarted)] == [0, 1]


def test_only_one_tool_call_is_made_when_parallel_calls_are_off() -> None:
    events = say(f"{CALL}\n{CALL}", tools=True, several=False)
    assert [event.id for event in events if isinstance(event, ToolCallStarted)] == ["call_1"]


@pytest.mark.parametrize(
    "text", ["<tool_call>no JSON</tool_call>", '<tool_call>{"name": "weather"', "a < b <tool", "<tool_call>[]</tool_call>"]
)
def test_malformed_tool_call_is_shown_as_text(text: str) -> None:
    assert shown(say(text, tools=True)) == text


def test_a_call_without_tools_is_text() -> None:
    assert shown(say(CALL)) == CALL
