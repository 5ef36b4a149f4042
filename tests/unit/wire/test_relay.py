"""A stream on its way through: the same whatever the pieces, counted to the token, and never an exception that is not typed."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.tokens import UsageReport
from penstock.wire.chat.chunks import EngineReportedError, GarbledStream, OversizedEvent
from penstock.wire.chat.relay import Relay, model_pattern
from tests.unit.wire.mutations import COUNTS, mutations, pieces

DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "model": "engine-model",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}],
        **fields,
    }


def event(value: Any, compact: bool = False) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":") if compact else None).encode() + b"\n\n"


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 2}}
CHUNKS = [
    chunk({"role": "assistant", "content": ""}, usage=None),
    chunk({"content": 'one "quoted" \\ {brace}'}, usage=None, service_tier="auto"),
    chunk({"content": "zwei\n\ndata: 水🚰"}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"model": "engine-model", "usage": null}'}}]}),
    chunk({}, "stop"),
    {"id": "c", "model": "engine-model", "choices": [], "usage": USAGE},
]
STREAM = b"".join(event(value, compact=number % 2 == 0) for number, value in enumerate(CHUNKS)) + DONE
ODD = b": hello\n\nevent: x\nid: 1\ndata:" + STREAM[6:].replace(b"\n\n", b"\n\n: ping\n\n").replace(b"\n", b"\r\n")
SAMPLES = [
    STREAM,
    ODD,
    b"".join(event(chunk({"content": str(n)})) for n in range(20)) + event(chunk({}, "length")) + DONE,
    b'data: {"choices":[{"text":"legacy","index":0,"finish_reason":null}]}\n\ndata: {"choices":[{"text":"","finish_reason":"stop"}]}\n\n',
    event({"error": {"message": "boom"}}) + DONE,
]


def relay(*, usage: bool = True, largest: int = 1 << 20) -> Relay:
    rename = (model_pattern("engine-model"), b'"model":"public"')
    return Relay(usage_wanted=usage, service_tier="flex", rename=rename, largest_event_bytes=largest)


def through(one: Relay, parts: Any) -> list[Any]:
    """The chunks that reach the client; fails for anything that is not one event after the other."""
    out = b"".join(one.feed(part) for part in parts)
    out += one.close() if not one.done else b""
    events = out.split(b"\n\n")
    assert events.pop() == b""
    assert all(each.startswith(b'data: {"') for each in events)
    return [json.loads(each[6:], object_pairs_hook=_without_doubles) for each in events]


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    assert len(found) == len(pairs), f"a field came twice: {pairs}"
    return found


def expected(usage: bool) -> list[dict[str, Any]]:
    found = []
    for value in CHUNKS:
        given_usage = value.get("usage")
        if given_usage and not usage:
            continue
        mine = {**value, "model": "public", "service_tier": "flex"}
        if not usage:
            mine.pop("usage", None)
        found.append(mine)
    return found


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("stream", [STREAM, ODD], ids=["plain", "odd"])
@given(seed=st.integers(0, 10**9))
def test_stream_split_anywhere_gives_the_same_bytes(stream: bytes, usage: bool, seed: int) -> None:
    one = relay(usage=usage)
    assert through(one, pieces(stream, Random(seed))) == expected(usage)
    assert (one.tokens, one.usage, one.finished, one.done) == (3, UsageReport(7, 3, 2, 0), True, True)


@given(st.lists(st.text(max_size=30), max_size=20), st.integers(0, 10**9), st.booleans())
def test_text_of_any_characters_arrives_unchanged(texts: list[str], seed: int, usage: bool) -> None:
    stream = b"".join(event(chunk({"content": text}), compact=True) for text in texts) + event(chunk({}, "stop")) + DONE
    one = relay(usage=usage)
    got = [value["choices"][0]["delta"].get("content") for value in through(one, pieces(stream, Random(seed)))]
    assert got == [*texts, None]
    assert one.tokens == sum(bool(text) for text in texts)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.fault("Mutated event streams", "passed on or refused, never a crash")
def test_mutations_pass_or_are_garbled(count: int, figure: Callable[[str], None]) -> None:
    random = Random(7)
    for stream in mutations(SAMPLES, count):
        one = relay(usage=random.random() < 0.5, largest=2000)
        try:
            for part in pieces(stream, random):
                out = one.feed(part)
                assert not out or (out.startswith(b"data: ") and out.endswith(b"\n\n")), out
            one.close()
        except (GarbledStream, EngineReportedError):
            continue
        assert one.done
        if one.usage is not None:
            assert 0 <= (one.usage.prompt or 0) < 2**31
    figure(f"{count:,} mutations")


@pytest.mark.parametrize(
    "rubbish",
    [
        b"data: nonsense\n\n",
        b'data: {"choices":[]}{"choices":[]}\n\n',
        b'data: {"choices":[]},{"choices":[]}\n\n',
        b'data: {"choices":[]}\ndata: {"choices":[]}\n\n',
        b"data: [1,2]\n\n",
        b"data: \0\n\n",
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
        b'data: {"choices":[{"finish_reason":5}]}\n\n',
        b'data: {"choices":{"a":1}}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_malformed_stream_is_garbled(rubbish: bytes) -> None:
    with pytest.raises(GarbledStream):
        relay().feed(rubbish)
    one = relay()
    one.feed(event(chunk({"content": "a"})))
    with pytest.raises(GarbledStream):
        one.feed(rubbish)
    assert one.tokens == 1


@pytest.mark.parametrize(
    "harmless",
    [
        b": comment\n\n",
        b"\n\n\n",
        b"event: ping\n\n",
        b"data: \n\n",
        b"data: {}\n\n",
        b"data: { }\n\n",
        b'data: {"object":"ping"}\n\n',
        b"data\n\n",
    ],
)
def test_harmless_event_that_is_not_a_chunk_is_dropped(harmless: bytes) -> None:
    one = relay()
    assert one.feed(harmless) == b""
    assert json.loads(one.feed(event(chunk({"content": "a"})) + harmless)[6:])["choices"][0]["delta"] == {"content": "a"}
    assert one.tokens == 1


def test_chunk_with_a_space_after_its_brace_is_edited() -> None:
    value = through(relay(), [b'data: { "choices" : [ {"delta":{"content":"a"},"finish_reason":"stop"} ] , "service_tier" : "x" }\n\n'])
    assert value == [{"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}], "service_tier": "flex"}]


def test_engine_error_in_a_stream_is_raised() -> None:
    with pytest.raises(EngineReportedError, match="an error of 28 bytes") as raised:
        relay().feed(event({"error": {"message": "boom"}}))
    assert b"boom" in raised.value.body
    assert "boom" not in str(raised.value), "engines repeat prompts in their errors"


ERRORS = {
    "object": event({"object": "error", "message": "boom", "code": 500}),
    "detail": event({"detail": "boom"}),
    "named": b'event: error\ndata: {"detail": "boom"}\n\n',
    "named text": b"event: error\ndata: boom\n\n",
    "named last": b'data: {"text": "boom"}\nevent:error\n\n',
    "plain": event({"error": "boom"}),
    "beside choices": event(chunk({"content": ""}, "error", error={"message": "boom"})),
    "message": event({"message": "boom", "type": "server_error"}),
    "finish reason": event(chunk({"content": "boom"}, "error")),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("before", [b"", event(chunk({"content": "a"}))], ids=["first", "later"])
def test_engine_error_in_another_shape_is_raised(error: bytes, before: bytes) -> None:
    one = relay()
    one.feed(before)
    with pytest.raises(EngineReportedError):
        one.feed(error + DONE)


@pytest.mark.parametrize("error", [None, {}, "", False])
def test_empty_error_beside_choices_is_none(error: Any) -> None:
    assert len(through(relay(), [event(chunk({"content": "a"}, error=error)) + DONE])) == 1


def test_large_event_passes_whatever_its_pieces() -> None:
    text = "A" * 300_000
    stream = event(chunk({"content": text})) + event(chunk({}, "stop")) + DONE
    for size in (7_000, 65_536, 70_000, len(stream)):
        one = relay(largest=400_000)
        got = through(one, [stream[at : at + size] for at in range(0, len(stream), size)])
        assert (got[0]["choices"][0]["delta"]["content"], one.tokens, one.finished) == (text, 1, True)


def test_event_over_the_limit_names_the_limit() -> None:
    one = relay(largest=100_000)
    for _ in range(10):
        one.feed(b"x" * 10_000)
    with pytest.raises(OversizedEvent, match="100000"):
        one.feed(b"x")


def test_lone_surrogate_or_nan_passes_as_text_and_null() -> None:
    odd = b'data: {"choices":[{"index":0,"delta":{"content":"%b"},"logprobs":[NaN]}]}\n\n'
    stream = event(chunk({"content": "Hi "})) + odd % b"\\ud83d" + odd % b"\\ude00" + event(chunk({"content": " bye"}, "stop")) + DONE
    got = through(relay(), [stream])
    assert "".join(value["choices"][0]["delta"]["content"] for value in got) == "Hi \U0001f600 bye"
    assert got[1]["choices"][0]["logprobs"] == [None]


@pytest.mark.parametrize("reason", [None, ""])
def test_stream_without_a_finish_reason_is_cut(reason: str | None) -> None:
    one = relay()
    one.feed(event(chunk({"content": "a"}, reason)))
    with pytest.raises(GarbledStream):
        one.close()


def test_stream_is_cut_when_one_of_two_choices_did_not_finish() -> None:
    one = relay()
    second = {"id": "c", "choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": None}]}
    one.feed(event(chunk({"content": "a"}, "stop")) + event(second))
    with pytest.raises(GarbledStream):
        one.close()


def test_chunk_after_the_finish_reason_changes_nothing() -> None:
    one = relay()
    one.feed(event(chunk({"content": "a"}, "stop")) + event(chunk({"content": ""})))
    one.close()
    assert one.done


@pytest.mark.parametrize("stream", [b"", event(chunk({"content": "a"})), b'data: {"choices":[{"finish_reason":"stop"'])
def test_stream_without_a_proper_end_is_garbled(stream: bytes) -> None:
    one = relay()
    one.feed(stream)
    with pytest.raises(GarbledStream):
        one.close()


def test_an_end_without_done_or_a_last_blank_line() -> None:
    one = relay()
    assert one.feed(event(chunk({"content": "a"}, "stop"))[:-2]) == b""
    assert json.loads(one.close()[6:])["choices"][0]["delta"] == {"content": "a"}
    assert (one.done, one.tokens) == (True, 1)


def test_events_after_done_are_dropped() -> None:
    one = relay()
    one.feed(event(chunk({"content": "a"}, "stop")) + DONE + event(chunk({"content": "b"})))
    assert (one.done, one.tokens, one.feed(b"rubbish"), one.close()) == (True, 1, b"", b"")


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_an_event_without_an_end_is_bounded(size: int) -> None:
    one = relay(largest=10_000)
    for _ in range(10_000 // size):
        one.feed(b"x" * size)
    with pytest.raises(GarbledStream):
        one.feed(b"x" * size)


def test_null_token_counts_are_not_told() -> None:
    one = relay()
    one.feed(event({"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": None}}))
    assert one.usage == UsageReport(None, None)


@pytest.mark.parametrize("value", [-1, 2**31, 8.5, "many", True, [1], {"a": 1}])
def test_unreadable_token_count_in_a_stream_is_not_told_and_the_text_passes(value: Any) -> None:
    one = relay()
    got = through(
        one,
        [event(chunk({"content": "a"}, "stop")), event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": value}}), DONE],
    )
    assert [each["choices"][0]["delta"] for each in got] == [{"content": "a"}]
    assert (one.usage, one.usage_withheld, one.done) == (UsageReport(7, None, unreadable="completion_tokens"), True, True)
