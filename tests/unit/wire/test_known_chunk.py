"""Chunks that come again: what goes out, is counted and is refused is the same as if each had been decoded."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.wire.chat.chunks import EngineReportedError, GarbledStream, decode_all
from penstock.wire.chat.known_chunk import KnownChunk, learned
from penstock.wire.chat.relay import Relay, model_pattern

DONE = b"data: [DONE]\n\n"
HEAD = '{"id":"c","model":"engine-model","usage":null,"choices":['
PLAIN = HEAD + '{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}'
LEGACY = HEAD + '{"text":"%s","index":0,"finish_reason":null}]}'
WITH_LOGPROBS = HEAD + '{"delta":{"content":"%s"},"logprobs":{"content":[]}}]}'
TOOLS = HEAD + '{"delta":{"tool_calls":[{"function":{"arguments":"%s"}}]}}]}'
SHAPES = [PLAIN, PLAIN, PLAIN, PLAIN.replace("null", ' "stop"', 1), PLAIN.replace("null}", '"stop"}'), LEGACY, WITH_LOGPROBS, TOOLS]
RAW = st.sampled_from(
    ["", "a", "\\n", "\\\\", '\\"', "\\", '"', "\\u00e4", "\\ud83d", "ä水🚰", "\x01", '"},', '","usage":null,"x":"', "data: {", "{}"]
)
TEXTS = st.lists(RAW, max_size=3).map("".join) | st.text(max_size=5).map(lambda text: json.dumps(text)[1:-1])
EVENTS = st.tuples(st.sampled_from(SHAPES), TEXTS).map(lambda pair: ("data: " + pair[0].replace("%s", pair[1]) + "\n\n").encode())
BROKEN = st.binary(max_size=4).map(lambda data: b"data: " + PLAIN.encode().replace(b"%s", data) + b"\n\n")
STREAMS = st.lists(EVENTS | BROKEN | st.sampled_from([DONE, b": ping\n\n", b"\n\n"]), max_size=12)


def relay(*, usage: bool = False, lessons: int | None = None) -> Relay:
    made = Relay(usage_wanted=usage, service_tier="flex", rename=(model_pattern("engine-model"), b'"model":"public"'))
    if lessons is not None:
        made._lessons = lessons
    return made


def told(one: Relay, reads: list[bytes]) -> tuple[Any, ...]:
    out = b""
    try:
        for read in reads:
            out += one.feed(read)
        out += one.close()
    except (GarbledStream, EngineReportedError) as error:
        return type(error), one.done
    return out, one.tokens, one.size, one.finished, one.usage


@given(events=STREAMS, per_read=st.integers(1, 5), usage=st.booleans())
@example([b"data: " + PLAIN.replace("%s", text).encode() + b"\n\n" for text in ("a", "b", "ä", "\\n", "")], 5, False)
def test_nothing_changes_when_chunks_are_known(events: list[bytes], per_read: int, usage: bool) -> None:
    reads = [b"".join(events[at : at + per_read]) for at in range(0, len(events), per_read)]
    assert told(relay(usage=usage), reads) == told(relay(usage=usage, lessons=0), reads)


@given(events=STREAMS, cut=st.integers(1, 200))
@example([b"data: " + PLAIN.replace("%s", "a").encode() + b"\n\n", b"\n\n", b"data: [DONE]\n\n"], 2)
@example([b"data: " + PLAIN.replace("%s", "a").encode() + b"\n\n", b"\n", b"data: " + PLAIN.encode() + b"\n\n"], 200)
def test_nothing_changes_wherever_the_reads_end(events: list[bytes], cut: int) -> None:
    stream = b"".join(events)
    reads = [stream[at : at + cut] for at in range(0, len(stream), cut)]
    assert told(relay(), reads) == told(relay(lessons=0), reads)


def known(shape: str = PLAIN) -> KnownChunk | None:
    event = b"data: " + shape.replace("%s", "word").encode() + b"\n\n"
    return learned(event, decode_all(b"[%b]" % event[6:-2])[0], event.replace(b"engine-model", b"public"))


@pytest.mark.parametrize("shape", [PLAIN, LEGACY])
def test_a_piece_of_text_is_known(shape: str) -> None:
    one = known(shape)
    assert one is not None
    events = "".join("data: " + shape.replace("%s", text) + "\n\n" for text in ("so", "\\n", "ä")).encode()
    assert one.leading(events + DONE) == len(events)
    assert one.relayed(events) == (events.replace(b"engine-model", b"public"), 3, 5)


@pytest.mark.parametrize("shape", [WITH_LOGPROBS, TOOLS, PLAIN.replace("null}", '"stop"}'), HEAD + '{"delta":{}}]}', HEAD + "]}"])
def test_more_than_a_piece_of_text_is_not(shape: str) -> None:
    assert known(shape) is None


@pytest.mark.parametrize("text", ["", '"', "\\", "\\u00e4", "\x01", "so\\", '","x":"', "a\n\nb"])
def test_chunk_whose_text_is_not_a_string_is_decoded(text: str) -> None:
    one = known()
    assert one is not None
    events = "".join("data: " + PLAIN.replace("%s", each) + "\n\n" for each in ("so", text, "n so")).encode()
    assert one.relayed(events) is None


def test_half_a_character_is_not_made_whole_by_the_next_event() -> None:
    one = known()
    assert one is not None
    halves = b"".join(b"data: " + PLAIN.encode().replace(b"%s", half) + b"\n\n" for half in (b"\xc3", b"\xa4"))
    assert one.relayed(halves) is None


def test_an_engine_whose_chunks_all_differ_is_not_learned_for_ever() -> None:
    one = relay()
    for number in range(20):
        one.feed(b"data: " + PLAIN.replace('"c"', f'"{number}"').replace("%s", "x").encode() + b"\n\n")
    assert one.tokens == 20
    assert one._lessons == 0
