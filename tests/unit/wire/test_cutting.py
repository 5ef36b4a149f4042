"""Answers that are longer than the client allowed."""

import json
from typing import Any

import pytest

from penstock.domain.tokens import UsageReport
from penstock.wire.chat.cutting import cut_choice
from penstock.wire.chat.relay import Relay

DONE = b"data: [DONE]\n\n"


def event(delta: dict[str, Any], finish: str | None = None, index: int = 0, **fields: Any) -> bytes:
    value = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": index, "delta": delta, "finish_reason": finish}], **fields}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def relayed(limit: int, events: list[bytes], per_read: int = 1) -> tuple[Relay, list[dict[str, Any]]]:
    one = Relay(usage_wanted=False, service_tier="default", limit=limit)
    out = b"".join(one.feed(b"".join(events[at : at + per_read])) for at in range(0, len(events), per_read))
    return one, [json.loads(each[6:]) for each in out.split(b"\n\n") if each]


def ends(events: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(each["choices"][0]["index"], reason) for each in events if (reason := each["choices"][0]["finish_reason"])]


def text(events: list[dict[str, Any]]) -> str:
    return "".join(each["choices"][0]["delta"].get("content") or "" for each in events)


@pytest.mark.parametrize("per_read", [1, 3, 100])
@pytest.mark.parametrize("piece", ["tok ", "word ", "über "])
def test_stream_of_one_token_a_chunk_ends_exactly_at_the_limit(piece: str, per_read: int) -> None:
    one, got = relayed(5, [event({"content": piece})] * 50 + [event({}, "stop"), DONE], per_read)
    assert (text(got), ends(got)) == (piece * 5, [(0, "length")])
    assert (one.cut, one.done, one.tokens, one.size, one.feed(b"more")) == (True, True, 5, len(piece.encode()) * 5, b"")


def test_one_huge_chunk_is_cut_to_the_bytes_of_the_limit() -> None:
    one, got = relayed(10, [event({"content": "水" * 4000})])
    assert (text(got), ends(got), one.size) == ("水" * 13, [(0, "length")], 39)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "refusal"])
def test_text_outside_the_content_is_held_to_the_limit_too(field: str) -> None:
    one, got = relayed(5, [event({field: "tok "})] * 50)
    assert (len(got), ends(got), one.tokens) == (6, [(0, "length")], 5)


def test_arguments_of_tool_calls_are_held_to_the_limit_too() -> None:
    call = {"tool_calls": [{"index": 0, "function": {"arguments": '"x":'}}]}
    one, got = relayed(5, [event(call)] * 50)
    assert (len(got), ends(got), one.cut) == (6, [(0, "length")], True)


def test_each_choice_that_has_not_ended_gets_an_end() -> None:
    events = [event({"content": "tok "}, index=at) for at in (0, 1, 2)]
    events += [event({}, "stop", 1), *[event({"content": "tok "}, index=2)] * 50]
    _, got = relayed(6, events)
    assert ends(got) == [(1, "stop"), (0, "length"), (2, "length")]


def test_legacy_stream_ends_in_its_own_form() -> None:
    chunk = b"data: " + json.dumps({"object": "text_completion", "choices": [{"index": 0, "text": "tok ", "finish_reason": None}]}).encode()
    one = Relay(usage_wanted=False, service_tier="default", limit=2)
    out = one.feed((chunk + b"\n\n") * 9)
    got = [json.loads(each[6:])["choices"][0] for each in out.split(b"\n\n") if each]
    assert [each["text"] for each in got] == ["tok ", "tok ", ""]
    assert got[-1]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("limit", "events"),
    [
        (5, [*[event({"content": "tok "})] * 5, event({}, "stop"), DONE]),
        (100, [*(event({"content": letter}) for letter in "a" * 390), event({}, "length"), DONE]),  # a server that sends characters
        (20, [event({"content": "an answer of few long words " * 4}), event({}, "stop"), DONE]),  # 112 bytes
        (-1, [*[event({"content": "tok "})] * 500, event({}, "stop"), DONE]),
    ],
    ids=["at the limit", "characters", "one piece", "no limit"],
)
def test_stream_within_its_limit_passes_whole(limit: int, events: list[bytes]) -> None:
    one, got = relayed(limit, events)
    assert (one.cut, one.done, len(got)) == (False, True, len(events) - 1)


def test_report_of_a_stream_that_is_cut_in_its_last_read_is_kept_for_the_record() -> None:
    events = [event({"content": "tok "})] * 50
    events += [event({}, "stop", usage={"prompt_tokens": 7, "completion_tokens": 50}), DONE]
    one, got = relayed(5, events, 100)
    assert (ends(got), one.usage) == ([(0, "length")], UsageReport(7, 50))
    assert all("usage" not in each for each in got)


def test_whole_choice_is_cut_where_it_was_made_first() -> None:
    choice: dict[str, Any] = {"message": {"content": "bbbb", "reasoning_content": "aaaa", "tool_calls": None}, "finish_reason": "stop"}
    assert cut_choice(choice, 6) == 6
    assert choice == {"message": {"content": "bb", "reasoning_content": "aaaa", "tool_calls": None}, "finish_reason": "length"}
    legacy = {"text": "水水", "finish_reason": "stop"}
    assert (cut_choice(legacy, 5), legacy["text"], cut_choice(legacy, 100)) == (3, "水", 3)
