"""What a body means, and what is said about one that means nothing."""

import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.errors import BadRequest, PenstockError
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
    assert requests.prompt_tokens(request) >= 0
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
    ],
    ids=["open", "deep", "blocks", "strings", "quotes", "text", "escapes", "wide"],
)
def test_no_body_of_ten_megabytes_holds_up_the_process(body: bytes) -> None:
    """Everybody waits while one body is looked at. Half a second is far above what it takes, and far below what it took once."""
    began = time.process_time()
    requests.deeper_than(body, 64)
    assert time.process_time() - began < 0.5


# --- estimates ---------------------------------------------------------------------------------------------------------


def test_prompt_tokens_of_a_chat_ignore_inline_images() -> None:
    text = [{"type": "text", "text": "word " * 100}]
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}]
    plain = requests.prompt_tokens(decode(CHAT | {"messages": [{"role": "user", "content": text}]}))
    pictured = requests.prompt_tokens(decode(CHAT | {"messages": [{"role": "user", "content": text + image}]}))
    assert 900 <= pictured - plain <= 1100


def test_max_tokens_count_all_choices() -> None:
    assert requests.max_tokens(decode(CHAT), 512) == 512
    assert requests.max_tokens(decode(CHAT | {"max_tokens": 7, "n": 3}), 512) == 21
    assert requests.max_tokens(decode(CHAT | {"max_tokens": 7, "max_completion_tokens": 5}), 512) == 5
    assert (
        requests.max_tokens(decode({"model": "m", "prompt": "x", "max_tokens": 4, "n": 2, "best_of": 5}, Operation.COMPLETION), 512) == 20
    )
    assert requests.max_tokens(decode({"model": "m", "input": "x"}, Operation.EMBEDDING), 512) == 0


def test_the_body_is_left_alone_when_nothing_has_to_change() -> None:
    body = b'{ "model" : "m", "messages" : [ {"role":"user","content":"x"} ], "unknown" : 1.50 }'
    assert requests.for_engine(decode(body), body, "m") is body
