"""Whole replies: what they count, what is edited, and rubbish."""

import base64
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest

from penstock.domain.errors import BadRequest, ContextLengthExceeded, PenstockError, TooLarge, UnsupportedParameter
from penstock.domain.inference import Operation
from penstock.domain.tokens import TokenCount
from penstock.wire.chat import replies, requests
from penstock.wire.chat.relay import model_pattern
from penstock.wire.refusals import callers_mistake
from tests.unit.wire.mutations import COUNTS, mutations

REPLY: dict[str, Any] = {
    "id": "c",
    "model": "engine-model",
    "service_tier": None,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": 'say "model": "engine-model"'}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1}},
}
VECTORS = [[0.5, -1.25], [3.0, 0.0]]
EMBEDDINGS = {"object": "list", "data": [{"object": "embedding", "index": n, "embedding": one} for n, one in enumerate(VECTORS)]}
TEXTS = [base64.b64encode(struct.pack("<2f", *one)).decode() for one in VECTORS]
PACKED = {"data": [{"object": "embedding", "index": n, "embedding": text} for n, text in enumerate(TEXTS)]}
RENAME = (model_pattern("engine-model"), b'"model":"public"')


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def counted(body: bytes, reply: replies.AnyReply, prompt_estimate: int = 9, **fields: Any) -> TokenCount:
    request = requests.decode(Operation.CHAT, encoded({"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}), 64)
    return replies.token_count(body, reply, request, prompt_estimate, requests.max_tokens(request, 512))


def edited(body: bytes) -> dict[str, Any]:
    reply = replies.read(body)
    found: dict[str, Any] = json.loads(replies.edited(body, reply, "flex", RENAME, counted(body, reply)))
    return found


def test_a_reply_gets_the_tier_and_the_public_name() -> None:
    assert edited(encoded(REPLY)) == {**REPLY, "model": "public", "service_tier": "flex"}


def test_the_engines_own_count_is_taken() -> None:
    assert counted(encoded(REPLY), replies.read(encoded(REPLY))) == TokenCount(5, 2, 0, 1)


def test_without_usage_we_count_and_say_so() -> None:
    body = encoded({name: value for name, value in REPLY.items() if name != "usage"})
    count = counted(body, replies.read(body))
    assert (count.prompt, count.completion > 0, count.estimated) == (9, True, True)
    assert edited(body)["usage"]["estimated"] is True


@pytest.mark.parametrize("source", [EMBEDDINGS, PACKED], ids=["floats", "base64"])
def test_embeddings_as_the_client_asked_for_them(source: dict[str, Any]) -> None:
    for wanted, form in ((None, EMBEDDINGS), ("float", EMBEDDINGS), ("base64", PACKED)):
        assert json.loads(replies.embeddings_as(encoded(source), wanted))["data"] == form["data"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"{}",
        b'{"choices":null}',
        b'{"choices":{}}',
        encoded(REPLY)[:-5],
        encoded(REPLY) + b"}",
        b'{"choices":[],"\xff":1}',
        b"[" * 100_000,
        encoded({"choices": [], "error": {"code": 502, "message": "Upstream overloaded"}}),
        encoded({"choices": None, "error": "overloaded", "usage": {"prompt_tokens": 7}}),
        encoded({"data": [], "error": {"message": "overloaded"}}),
    ],
)
def test_malformed_upstream_reply_is_garbled(body: bytes) -> None:
    with pytest.raises(replies.GarbledReply):
        replies.read(body)


@pytest.mark.parametrize("vector", [[1e300], "not base64!", "abc", "AAA=", {"a": 1}, [None], ["x"], True])
@pytest.mark.parametrize("wanted", ["float", "base64"])
def test_malformed_embeddings_are_garbled(vector: Any, wanted: str) -> None:
    body = encoded({"data": [{"embedding": vector}]})
    try:
        assert isinstance(json.loads(replies.embeddings_as(body, wanted)), dict)
    except replies.GarbledReply:
        pass  # which of them still are base64 or numbers is the library's matter


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.fault("Mutated answers of workers", "read or refused, never a crash")
def test_mutations_are_read_or_garbled(count: int, figure: Callable[[str], None]) -> None:
    for body in mutations([encoded(REPLY), encoded(EMBEDDINGS), encoded(PACKED)], count):
        try:
            reply = replies.read(body)
            found = counted(body, reply, 3)
            assert 0 <= found.prompt < 2**31
            for wanted in ("float", "base64"):
                replies.embeddings_as(body, wanted)
            json.loads(replies.edited(body, reply, "default", RENAME, found))
        except replies.GarbledReply:
            continue
    figure(f"{count:,} mutations")


# --- error answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, {"error": {"message": "bad"}}, BadRequest, "bad"),
        (400, {"error": {"message": "x", "code": "context_length_exceeded"}}, ContextLengthExceeded, "x"),
        (
            400,
            {"error": {"message": "the context length is 5"}},
            ContextLengthExceeded,
            "the context length is 5",
        ),
        (400, {"error": {"message": "x", "code": "unsupported_parameter"}}, UnsupportedParameter, "x"),
        (413, {"message": "big"}, TooLarge, "big"),
        (422, {"detail": "wrong"}, BadRequest, "wrong"),
        (400, {"error": "plain"}, BadRequest, "plain"),
        (400, {"detail": [{"loc": ["x"]}]}, BadRequest, "The engine refused the request."),
    ],
)
def test_callers_mistake_is_passed_on(status: int, body: Any, kind: type[PenstockError], message: str) -> None:
    error = callers_mistake(status, encoded(body))
    assert type(error) is kind
    assert error.message == message


@pytest.mark.parametrize("status", [200, 301, 401, 402, 403, 405, 408, 429, 500, 502, 503])
def test_workers_fault_is_not_the_callers_mistake(status: int) -> None:
    assert callers_mistake(status, encoded({"error": {"message": "x"}})) is None


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"<html>", b"[" * 50_000, b'{"error":{"message":"\xff"}}', b'{"error":[]}', b"5"])
def test_malformed_error_answer_gets_a_message_of_ours(body: bytes) -> None:
    error = callers_mistake(400, body)
    assert error is not None
    assert error.message == "The engine refused the request."


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.fault("Mutated errors of workers", "one sentence for the client, of a thousand characters at most")
def test_mutated_error_answer_still_gets_a_bounded_message(count: int, figure: Callable[[str], None]) -> None:
    samples = [encoded({"error": {"message": "m" * 2000, "code": "c", "param": "p"}}), encoded({"detail": [1]})]
    for body in mutations(samples, count):
        error = callers_mistake(400, body)
        assert error is not None
        assert len(error.message) <= 1000
    figure(f"{count:,} mutations")
