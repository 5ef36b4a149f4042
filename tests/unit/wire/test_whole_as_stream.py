"""A whole answer where a stream was asked for."""

import json

import pytest

from penstock.domain.tokens import UsageReport
from penstock.wire.chat.relay import Relay
from penstock.wire.chat.replies import GarbledReply
from penstock.wire.chat.whole_as_stream import whole_as_events
from penstock.wire.sse import EVENTS, OTHER, UNKNOWN, WHOLE, form_of

USAGE = {"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 15}


def test_whole_chat_answer_becomes_a_stream_that_the_relay_takes() -> None:
    call = {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choices = [
        {"index": 0, "message": message, "finish_reason": "tool_calls"},
        {"index": 1, "message": {"content": "b"}, "finish_reason": None},
    ]
    relay = Relay(usage_wanted=True, service_tier="default")
    out = relay.feed(whole_as_events(json.dumps({"id": "c", "model": "m", "choices": choices, "usage": USAGE}).encode()))
    assert (relay.done, relay.finished, relay.tokens, relay.usage) == (True, True, 2, UsageReport(7, 8))
    said = [json.loads(event[6:])["choices"] for event in out.split(b"\n\n")[:-1]]
    assert said == [
        [{"index": 0, "delta": {"role": "assistant", "tool_calls": [{"index": 0, **call}]}, "finish_reason": None}],
        [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}],
        [{"index": 1, "delta": {"content": "b"}, "finish_reason": None}],
        [{"index": 1, "delta": {}, "finish_reason": "stop"}],
        [],
    ]


def test_whole_legacy_answer_becomes_a_stream_of_text() -> None:
    relay = Relay(usage_wanted=False, service_tier="default")
    out = relay.feed(whole_as_events(b'{"choices":[{"text":"a","finish_reason":"length"}]}'))
    assert [json.loads(event[6:])["choices"][0]["text"] for event in out.split(b"\n\n")[:-1]] == ["a", ""]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[1]}'])
def test_answer_without_choices_cannot_be_streamed(body: bytes) -> None:
    with pytest.raises(GarbledReply):
        whole_as_events(body)


@pytest.mark.parametrize(
    ("begun", "form"),
    [
        (b"", UNKNOWN),
        (b"\n\n", UNKNOWN),
        (b"da", UNKNOWN),
        (b"data: {", EVENTS),
        (b": ping", EVENTS),
        (b"\xef\xbb\xbfevent: x", EVENTS),
        (b"\n {", WHOLE),
        (b"<html>", OTHER),
        (b"dada", OTHER),
    ],
)
def test_form_of_an_answer_is_told_by_its_beginning(begun: bytes, form: int) -> None:
    assert form_of(begun) == form
