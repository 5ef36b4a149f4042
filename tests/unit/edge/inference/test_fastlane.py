"""One inference request from its head to its answer: keys, bodies, the headers that say more, framing."""

import gzip
import json
import zlib

import pytest

from penstock.domain.errors import BadRequest, Overloaded, TooLarge
from penstock.domain.inference import Operation
from penstock.edge.inference.fastlane import inflated, operation_of, positive_seconds
from tests.unit.edge.inference.memory_connection import CHAT, HttpAnswer, MemoryConnection

BODY = b'{"model":"m"}'


async def connection(**options: object) -> MemoryConnection:
    made = MemoryConnection(**options)  # type: ignore[arg-type]  # passed on
    await made.know_the_key()
    return made


def code(answer: HttpAnswer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["error"]["code"]


# --- who asks ---


@pytest.mark.parametrize("authorization", ["", "Bearer psk-wrong", "Basic dGVzdA==", "Bearer"])
async def test_request_without_a_good_key_is_401_and_never_reaches_the_pipeline(authorization: str) -> None:
    client = await connection()
    client.authorization = authorization
    client.receive(client.request())
    assert code(client.answer()) == (401, "invalid_api_key")
    assert client.answer().headers["x-penstock-decision"].endswith(";refused=invalid_api_key")
    assert client.inference.calls == []
    assert not client.closed


async def test_address_that_shows_too_many_wrong_keys_is_429() -> None:
    client = await connection(per_minute=2)
    client.authorization = "Bearer psk-wrong"
    for _ in range(3):
        client.receive(client.request())
    assert [answer.status for answer in client.answers()] == [401, 401, 429]


async def test_key_that_was_never_seen_is_looked_up_once_and_then_known() -> None:
    client = MemoryConnection()
    client.receive(client.request())
    assert client.inference.calls == [], "the store is asked first"
    await client.wire.wrote.wait()
    client.receive(client.request())
    assert [answer.status for answer in client.answers()] == [200, 200]
    assert client.accounts.lookups == 1


async def test_client_that_disconnects_during_the_look_up_starts_nothing() -> None:
    client = MemoryConnection()
    client.receive(client.request())
    client.protocol.connection_lost(None)
    await client.know_the_key()
    assert client.inference.calls == []


async def test_store_that_is_away_is_503_for_a_key_that_was_never_seen() -> None:
    client = MemoryConnection()
    client.accounts.unreachable = True
    client.receive(client.request())
    await client.wire.wrote.wait()
    assert client.answer().status == 503


# --- the body ---


async def test_body_over_the_limit_is_413_and_the_connection_is_kept() -> None:
    client = await connection(max_body_bytes=100)
    client.receive(client.request(b"x" * 101))
    client.receive(client.request(BODY))
    assert [answer.status for answer in client.answers()] == [413, 200]
    assert client.answers()[0].headers["x-should-retry"] == "false"
    assert not client.closed


@pytest.mark.parametrize("known", [False, True])
async def test_body_over_the_limit_in_pieces_is_413(known: bool) -> None:
    client = await connection(max_body_bytes=100)
    if known:
        client.receive(client.request(BODY))
    data = client.request(b"x" * 300)
    for at in range(0, len(data), 50):
        client.receive(data[at : at + 50])
    assert client.answers()[-1].status == 413
    assert not client.closed


async def test_endless_body_is_refused_before_it_ends_and_the_connection_closed() -> None:
    client = await connection(max_body_bytes=100)
    client.receive(client.request(b"x" * 10_000)[:2000])
    assert (client.answer().status, client.answer().headers["connection"]) == (413, "close")
    assert client.closed


async def test_answer_before_the_body_is_complete_closes_the_connection() -> None:
    """What still comes of the body cannot be told from the next request."""
    client = await connection()
    client.receive(client.request(BODY)[:-1])
    exchange = client.protocol._incoming
    assert exchange is not None
    exchange.refuse(Overloaded("Too busy."), b"")
    assert client.answer().status == 503
    assert client.closed


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate", "identity"])
async def test_compressed_body_is_unpacked(encoding: str) -> None:
    packed = {"deflate": zlib.compress(BODY), "identity": BODY}.get(encoding, gzip.compress(BODY))
    client = await connection()
    client.receive(client.request(packed, f"content-encoding: {encoding}"))
    assert client.inference.calls[0].body == BODY


@pytest.mark.parametrize(
    ("packed", "encoding", "status"),
    [(b"no gzip", "gzip", 400), (gzip.compress(BODY)[:-4], "gzip", 400), (BODY, "br", 400), (gzip.compress(b"x" * 3000), "gzip", 413)],
    ids=["rubbish", "cut off", "unknown encoding", "bomb"],
)
async def test_body_that_cannot_be_unpacked_is_refused(packed: bytes, encoding: str, status: int) -> None:
    client = await connection()
    client.receive(client.request(packed, f"content-encoding: {encoding}"))
    assert client.answer().status == status
    assert client.inference.calls == []


def test_body_is_unpacked_only_up_to_its_limit() -> None:
    packed = gzip.compress(b"x" * 101)
    assert inflated(gzip.compress(b"x" * 100), b"gzip", 100) == b"x" * 100
    with pytest.raises(TooLarge):
        inflated(packed, b"gzip", 100)
    with pytest.raises(BadRequest):
        inflated(packed, b"compress", 100)


# --- what headers say ---


async def test_metadata_headers_reach_the_call() -> None:
    client = await connection()
    lines = ("x-request-id: mine-1", "x-stainless-read-timeout: 2.5", "x-stainless-retry-count: 3", "idempotency-key: once")
    client.receive(client.request(BODY, *lines))
    call = client.inference.calls[0]
    assert (call.client_request_id, call.timeout_seconds, call.retry_count, call.idempotency_key) == ("mine-1", 2.5, 3, "once")


async def test_metadata_of_one_request_is_not_kept_for_the_next() -> None:
    client = await connection()
    client.receive(client.request(BODY, "idempotency-key: once"))
    client.receive(client.request(BODY))
    assert [call.idempotency_key for call in client.inference.calls] == ["once", client.inference.calls[1].idempotency_key]
    assert client.inference.calls[1].idempotency_key != "once"


@pytest.mark.parametrize("given", ["with space", "x" * 129, "semi;colon"])
async def test_request_id_that_would_not_be_safe_to_repeat_is_ignored(given: str) -> None:
    client = await connection()
    client.receive(client.request(BODY, f"x-request-id: {given}"))
    assert client.inference.calls[0].client_request_id == ""


@pytest.mark.parametrize(("text", "seconds"), [(b"2.5", 2.5), (b"0", None), (b"-1", None), (b"nan", None), (b"1e9", None), (b"soon", None)])
def test_timeout_header_is_ignored_unless_a_positive_number(text: bytes, seconds: float | None) -> None:
    assert positive_seconds(text) == seconds


@pytest.mark.parametrize(
    ("url", "operation"),
    [
        (CHAT.encode(), (Operation.CHAT, "")),
        (CHAT.encode() + b"?a=1", (Operation.CHAT, "")),
        (b"/v1/embeddings", (Operation.EMBEDDING, "")),
        (b"/v1/models/org%2Fname/infer", (Operation.INFER, "org/name")),
        (b"/v1/models/org/name/infer?x", (Operation.INFER, "org/name")),
        (b"/v1/models//infer", (None, "")),
        (b"/v1/chat/completions/", (None, "")),
        (b"/v1/models", (None, "")),
    ],
)
def test_path_tells_the_operation_and_the_model_that_it_names(url: bytes, operation: tuple[Operation | None, str]) -> None:
    assert operation_of(url) == operation


# --- the answer ---


async def test_streamed_answer_is_chunked_and_its_head_leaves_with_the_first_bytes() -> None:
    client = await connection(hold=True)
    client.receive(client.request(BODY))
    reply = client.inference.replies[0]
    reply.start(200, b"content-type: text/event-stream\r\n")
    assert client.wire.written == b""
    reply.write(b"data: 1\n\n")
    reply.write(b"")
    reply.end()
    head, _, body = client.wire.written.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert b"connection: close" not in head
    assert body == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"
    assert not client.closed


async def test_streamed_answer_to_http_1_0_is_plain_and_ends_with_the_connection() -> None:
    client = await connection(hold=True)
    client.receive(client.request(BODY, version="1.0"))
    reply = client.inference.replies[0]
    reply.start(200, b"")
    reply.write(b"data: 1\n\n")
    reply.end()
    head, _, body = client.wire.written.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert (body, client.closed) == (b"data: 1\n\n", True)


async def test_streamed_answer_without_a_byte_still_has_a_head() -> None:
    client = await connection(hold=True)
    client.receive(client.request(BODY))
    client.inference.replies[0].start(200, b"")
    client.inference.replies[0].end()
    assert client.wire.written.startswith(b"HTTP/1.1 200")
    assert client.wire.written.endswith(b"\r\n\r\n0\r\n\r\n")
