"""What a body means, and what is said about one that means nothing."""

import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.errors import BadRequest, InvalidJson, PenstockError
from penstock.domain.inference import Operation
from penstock.wire.chat import requests
from penstock.wire.chat.bodies import AnyBody
from tests.unit.wire.mutations import COUNTS, mutations

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
GOOD = {
    Operation.INFER: [
        b'{"model":"m","inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}],"outputs":[{"name":"y"}]}',
    ],
    Operation.CHAT: [
        json.dumps(CHAT).encode(),
        json.dumps(
            CHAT
            | {
                "stream": True,
                "stream_options": {"include_usage": False},
                "service_tier": "flex",
                "max_tokens": 5,
                "n": 2,
                "stop": ["a", "b"],
            }
            | {
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
                "metadata": {"a": "b"},
                "logit_bias": {"1": -1},
            }
        ).encode(),
        '{"model":"ü","messages":[{"role":"user","content":[{"type":"text","text":"水"}]}],"temperature":0.5,"x":{"y":[1,2]}}'.encode(),
    ],
    Operation.COMPLETION: [b'{"model":"m","prompt":"hello","max_tokens":3}', b'{"model":"m","prompt":[[1,2],[3]],"n":2,"best_of":3}'],
    Operation.EMBEDDING: [b'{"model":"m","input":["a","b"],"encoding_format":"base64","dimensions":8}', b'{"model":"m","input":[1,2]}'],
}
CASES = [(operation, body) for operation, bodies in GOOD.items() for body in bodies]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from([*CHAT, "prompt", "input", "n"]), inner, max_size=4)
    ),
    max_leaves=20,
)


def decode(value: Any, operation: Operation = Operation.CHAT) -> AnyBody:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return requests.decode(operation, body, 64)


def refusal(value: Any, operation: Operation = Operation.CHAT) -> tuple[str, str | None]:
    with pytest.raises(BadRequest) as caught:
        decode(value, operation)
    assert caught.value.message.endswith((".", "!"))
    return caught.value.code, caught.value.param


@pytest.mark.parametrize(("operation", "body"), CASES)
def test_good_bodies_reach_the_engine_whole(operation: Operation, body: bytes) -> None:
    request = requests.decode(operation, body, 64)
    sent = json.loads(requests.for_engine(request, body, "engine-name"))
    expected = json.loads(body) | {"model": "engine-name"}
    expected.pop("service_tier", None)
    if expected.get("stream"):
        expected["stream_options"] = {**(expected.get("stream_options") or {}), "include_usage": True}
    assert sent == expected


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_completion_tokens": -5}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": "two"}, "n"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"service_tier": "gold"}, "service_tier"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"content": "no role"}]}, "messages[0].role"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"metadata": {"k": "v" * 513}}, "metadata[...]"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, Any], param: str) -> None:
    assert refusal(CHAT | change) == ("invalid_request_error", param)


def test_missing_field_is_named() -> None:
    assert refusal({"messages": CHAT["messages"]}) == ("invalid_request_error", "model")
    assert refusal({"model": "m"}) == ("invalid_request_error", "messages")
    assert refusal({"model": "m"}, Operation.COMPLETION) == ("invalid_request_error", "prompt")
    assert refusal({"model": "m"}, Operation.EMBEDDING) == ("invalid_request_error", "input")
    assert refusal({"model": "m", "input": []}, Operation.EMBEDDING) == ("invalid_request_error", "input")
    assert refusal({"model": "m", "prompt": {"a": 1}}, Operation.COMPLETION) == ("invalid_request_error", "prompt")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nul",
        b'{"model":"m"}{"model":"m"}',
        b'\xef\xbb\xbf{"model":"m"}',
        b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"service_tier":"auto","\xff\xfe":1}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":NaN}',
        b'{"model":"m\x00"',
    ],
)
def test_invalid_json_is_refused_as_invalid_json(body: bytes) -> None:
    assert refusal(body) == ("invalid_json", None)


def test_body_that_is_not_an_object_is_refused() -> None:
    assert refusal([1, 2]) == ("invalid_request_error", None)
    assert refusal(b"null") == ("invalid_request_error", None)


@given(JSON, st.sampled_from(Operation))
def test_random_json_is_decoded_or_refused(value: Any, operation: Operation) -> None:
    body = json.dumps(value).encode("utf-8", "surrogatepass")
    _decoded_or_refused(operation, body)


@given(st.binary(max_size=200), st.sampled_from(Operation))
def test_random_bytes_are_decoded_or_refused(body: bytes, operation: Operation) -> None:
    _decoded_or_refused(operation, body)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.fault("Mutated requests", "read or refused, never a crash")
def test_mutations_are_decoded_or_refused(operation: Operation, count: int, figure: Callable[[str], None]) -> None:
    for body in mutations(GOOD[operation], count):
        _decoded_or_refused(operation, body)
    figure(f"{count:,} mutations of each kind")


def _decoded_or_refused(operation: Operation, body: bytes) -> None:
    """And whatever was accepted can be sent: an exception later would leave a slot taken."""
    try:
        request = requests.decode(operation, body, 64)
    except PenstockError:
        return
    for name in (request.model, "another"):
        assert isinstance(msgspec.json.decode(requests.for_engine(request, body, name), type=dict[str, msgspec.Raw]), dict)
    assert requests.prompt_tokens(request, body) >= 1
    assert requests.max_tokens(request, 512) >= 0
    requests.wants_usage(request)


# --- depth -----------------------------------------------------------------------------------------------------------


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(each) for each in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(each) for each in value), default=0)
    return 0


TRICKY = st.text(alphabet='[]{}"\\/ab\n', max_size=12)
NESTED = st.recursive(
    st.integers(0, 9) | TRICKY, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4), max_leaves=40
)


@given(NESTED, st.integers(0, 6))
def test_depth_agrees_with_a_walk_through_the_value(value: Any, limit: int) -> None:
    assert requests.deeper_than(json.dumps(value).encode(), limit) == (_depth(value) > limit)


@pytest.mark.parametrize("depth", [64, 65, 1000, 100_000])
def test_depth_of_a_body_is_counted_outside_of_strings(depth: int) -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"extra":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    if depth <= 64:
        decode(body)
    else:
        assert refusal(body) == ("invalid_json", None)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000_000,
        b"[" * 5_000_000 + b"]" * 5_000_000,
        b"[" + (b"[" * 63 + b"]" * 63 + b",") * 78_000 + b"0]",
        b'["' + b'["],["' * 1_600_000 + b'"]',
        b'["' + b'","' * 3_300_000 + b'"]' + b"[]" * 70,
        b'{"a":"' + b"x{}[]" * 2_000_000 + b'"}',
        b'{"a":"' + b'\\"{' * 3_000_000 + b'"}',
        b"{}," * 3_000_000,
        b'{"a":1,' * 1_400_000,
        b'{"a":"' + b'\\":' * 3_000_000 + b'"}',
    ],
    ids=["open", "deep", "blocks", "strings", "quotes", "text", "escapes", "wide", "fields", "escaped fields"],
)
def test_no_body_of_ten_megabytes_holds_up_the_process(body: bytes) -> None:
    """Everybody waits while one body is looked at. Half a second is far above what it takes, and far below what it took once."""
    began = time.process_time()
    requests.deeper_than(body, 64)
    requests.more_keys_than(body, requests.MOST_KEYS)
    assert time.process_time() - began < 0.5


# --- estimates ---------------------------------------------------------------------------------------------------------


def estimate(body: Any, operation: Operation = Operation.CHAT) -> int:
    text = json.dumps(body, separators=(",", ":")).encode()
    return requests.prompt_tokens(requests.decode(operation, text, 64), text)


BASE64 = "QUJD" * 100_000


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + BASE64}},
        {"type": "image_url", "image_url": {"url": "data:image/svg+xml;utf8,<svg>" + "x" * 400_000}},
        {"type": "image_url", "image_url": "data:image/png;base64," + BASE64},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + BASE64}},
        {"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64," + BASE64}},
        {"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": BASE64}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64," + BASE64}},
    ],
    ids=["image", "svg", "image as text", "video", "audio url", "audio", "file", "file as data URL"],
)
def test_inline_data_of_a_known_part_counts_as_a_thousand_tokens(part: dict[str, Any]) -> None:
    text = [{"type": "text", "text": "word " * 1000}]
    plain = estimate(CHAT | {"messages": [{"role": "user", "content": text}]})
    assert 1000 <= estimate(CHAT | {"messages": [{"role": "user", "content": [*text, part]}]}) - plain <= 1040


TEXT = "data:" + "word " * 10_000


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": TEXT}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "url": TEXT}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "image_url": {"url": TEXT}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": TEXT}}]}]},
        {"messages": [{"role": "user", "content": [{"type": 5, "image_url": {"url": TEXT}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": TEXT}}]}]},
        {"messages": [{"role": "assistant", "content": "x", "reasoning_content": TEXT}]},
        {"messages": [{"role": "user", "content": "x", "name": TEXT}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"description": TEXT}}}},
        {"functions": [{"name": "f", "description": TEXT}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"image_url": {"url": TEXT}}}}]},
    ],
    ids=[
        "text like a data URL",
        "part like a data URL",
        "unknown field",
        "field of another type",
        "file that is text",
        "part of another shape",
        "tool calls",
        "reasoning",
        "name",
        "response_format",
        "functions",
        "tools",
    ],
)
def test_everything_that_an_engine_may_read_counts_as_prompt(fields: dict[str, Any]) -> None:
    assert estimate(CHAT | fields) >= len(TEXT) // 4


def test_suffix_and_prompts_of_a_completion_count_as_prompt() -> None:
    body = {"model": "m", "prompt": ["word " * 100] * 100, "suffix": "x" * 4000}
    assert estimate(body, Operation.COMPLETION) >= (100 * 500 + 4000) // 4
    assert estimate({"model": "m", "input": [TEXT]}, Operation.EMBEDDING) >= len(TEXT) // 4


def test_small_chat_counts_its_text_and_little_more() -> None:
    assert estimate({"model": "m", "messages": [{"role": "user", "content": "x" * 400}]}) == pytest.approx(110, abs=5)


def test_max_tokens_count_all_choices() -> None:
    assert requests.max_tokens(decode(CHAT), 512) == 512
    assert requests.max_tokens(decode(CHAT | {"max_tokens": 7, "n": 3}), 512) == 21
    assert (
        requests.max_tokens(decode({"model": "m", "prompt": "x", "max_tokens": 4, "n": 2, "best_of": 5}, Operation.COMPLETION), 512) == 20
    )
    assert requests.max_tokens(decode({"model": "m", "input": "x"}, Operation.EMBEDDING), 512) == 0


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"max_tokens": 7, "max_completion_tokens": 5}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
        ({"max_completion_tokens": 7}, 7),
        ({"max_completion_tokens": 1, "max_tokens": 1_000_000, "n": 2}, 2_000_000),
    ],
    ids=["older is larger", "newer is larger", "newer alone", "hidden"],
)
def test_larger_of_the_two_caps_is_reserved(fields: dict[str, int], most: int) -> None:
    assert requests.max_tokens(decode(CHAT | fields), 512) == most


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("x", 1), (["x"] * 100, 100), ([1, 2, 3], 1), ([[1, 2], [3]], 2), ([], 1)],
    ids=["text", "texts", "tokens", "arrays of tokens", "empty"],
)
def test_every_prompt_may_make_max_tokens(prompt: Any, prompts: int) -> None:
    body = decode({"model": "m", "prompt": prompt, "max_tokens": 10, "n": 3}, Operation.COMPLETION)
    assert requests.max_tokens(body, 512) == 30 * prompts
    assert requests.max_tokens(decode({"model": "m", "prompt": prompt}, Operation.COMPLETION), 512) == 512 * prompts


# --- fields ------------------------------------------------------------------------------------------------------------


@given(
    st.recursive(TRICKY | st.text(alphabet=': "\\', max_size=6), lambda inner: st.dictionaries(TRICKY, inner, max_size=5), max_leaves=20)
)
def test_fields_are_counted_outside_of_strings(value: Any) -> None:
    def fields(part: Any) -> int:
        return sum(1 + fields(each) for each in part.values()) if isinstance(part, dict) else 0

    count = fields(value)
    text = json.dumps(value).encode()
    assert requests.more_keys_than(text, count) is False
    assert count == 0 or requests.more_keys_than(text, count - 1)


def test_body_with_too_many_fields_is_refused_before_decoding() -> None:
    requests.check_keys(b'{"a":"' + b":" * 1_000_000 + b'"}')
    with pytest.raises(InvalidJson, match="more than 50000 fields"):
        requests.check_keys(json.dumps(dict.fromkeys(map(str, range(50_001)))).encode())


def test_the_body_is_left_alone_when_nothing_has_to_change() -> None:
    body = b'{ "model" : "m", "messages" : [ {"role":"user","content":"x"} ], "unknown" : 1.50 }'
    assert requests.for_engine(decode(body), body, "m") is body
