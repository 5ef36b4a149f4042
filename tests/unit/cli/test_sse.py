"""Events however the bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.client.sse import MAX_EVENT_BYTES, EventParser
from penstock.cli.exits import Failed

STREAM = b"".join(
    (
        b': keepalive\n\ndata: {"a": 1}\n\n',
        b"event: x\r\ndata: one\r\ndata:two\r\n\r\nid: 7\n\n",
        b"data: caf\xc3\xa9 \xe2\x80\xa8 more\n\ndata: [DONE]\n\n",
    )
)
EVENTS = ['{"a": 1}', "one\ntwo", "café \u2028 more", "[DONE]"]


def test_parser_returns_the_events_of_a_stream() -> None:
    assert EventParser().feed(STREAM) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_parser_result_does_not_depend_on_chunk_boundaries(cuts: list[int]) -> None:
    parser, marks = EventParser(), [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(marks)]
    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS


def test_parser_refuses_an_event_beyond_its_size_limit() -> None:
    with pytest.raises(Failed, match="too large"):
        EventParser().feed(b"data: " + b"x" * (MAX_EVENT_BYTES + 1))
