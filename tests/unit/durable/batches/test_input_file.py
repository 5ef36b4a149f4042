"""A batch's file: what is wrong with it is said line by line, and it is never in memory as a whole."""

import json
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from penstock.domain.durable.batches import MOST_LINES, LineFault
from penstock.durable.batches.input_file import MOST_FAULTS, requests, validate
from penstock.wire.batch_lines import LARGEST_LINE_BYTES, RequestLine
from tests.support.batch_harness import CHAT, line, text

EMBEDDINGS = "/v1/embeddings"


async def pieces(content: bytes, size: int = 1 << 16) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\r\n  \n"])
async def test_valid_file_is_reported_without_faults(size: int, end: bytes) -> None:
    content = b"\xef\xbb\xbf" + text([line("ä"), line("b"), b"", line("c", extra=1)]) + end
    verdict = await validate(pieces(content, size), CHAT)
    assert (verdict.total, verdict.faults, verdict.model) == (3, (), "m")
    found = [(number, one.custom_id) async for number, one in requests(pieces(content, size), CHAT) if isinstance(one, RequestLine)]
    assert found == [(1, "ä"), (2, "b"), (4, "c")]


@pytest.mark.parametrize(
    ("bad", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"not json", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (b'{"custom_id": "\xff"}', "invalid_json_line", None),
        ('{"custom_id": "a"}'.encode("utf-16"), "invalid_json_line", None),
        ('{"custom_id": "a"}'.encode("utf-16-be"), "invalid_json_line", None),
        (b"[" * 100_000, "invalid_json_line", None),
        (json.dumps({"method": "POST", "url": CHAT, "body": {}}).encode(), "missing_required_parameter", "custom_id"),
        (json.dumps({"custom_id": "b", "url": CHAT, "body": {}}).encode(), "missing_required_parameter", "method"),
        (json.dumps({"custom_id": "b", "method": "POST", "body": {}}).encode(), "missing_required_parameter", "url"),
        (json.dumps({"custom_id": "b", "method": "POST", "url": CHAT}).encode(), "missing_required_parameter", "body"),
        (json.dumps(line("")).encode(), "invalid_parameter", "custom_id"),
        (json.dumps(line("b") | {"custom_id": 5}).encode(), "invalid_parameter", "custom_id"),
        (json.dumps(line("b\0")).encode(), "invalid_parameter", "custom_id"),
        (json.dumps(line("b", method="GET")).encode(), "invalid_method", "method"),
        (json.dumps(line("b", url="/v1/embeddings")).encode(), "mismatched_url", "url"),
        (json.dumps(line("b", url="http://198.51.100.1/v1/chat/completions")).encode(), "mismatched_url", "url"),
        (json.dumps(line("b", body=[])).encode(), "invalid_body", "body"),
        (json.dumps(line("b", body="x")).encode(), "invalid_body", "body"),
        (json.dumps(line("a")).encode(), "duplicate_custom_id", "custom_id"),
        (json.dumps(line("b", body={"x": "y" * LARGEST_LINE_BYTES})).encode(), "line_too_large", None),
    ],
)
async def test_bad_line_is_reported_with_code_and_line_number(bad: bytes, code: str, param: str | None) -> None:
    verdict = await validate(pieces(text([line("a"), bad, line("c")])), CHAT)
    assert [(fault.code, fault.line, fault.param) for fault in verdict.faults] == [(code, 2, param)]


async def test_model_of_a_batch_has_no_nul() -> None:
    """The line itself fails when it is run: there is no such model."""
    report = await validate(pieces(text([line("a", body={"model": "m\0"})])), CHAT)
    assert (report.faults, report.model) == ((), "m\ufffd")


async def test_bad_lines_are_reported_up_to_a_limit() -> None:
    verdict = await validate(pieces(text([line("a"), b"x", line("b"), b"y"])), CHAT)
    assert [fault.line for fault in verdict.faults] == [2, 4]
    assert len((await validate(pieces(b"x\n" * 5000), CHAT)).faults) == MOST_FAULTS


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\n"])
async def test_file_without_requests_is_refused(content: bytes) -> None:
    assert (await validate(pieces(content), CHAT)).faults == (LineFault("empty_file", "The file has no requests."),)


async def test_file_with_too_many_lines_is_refused() -> None:
    lines = [json.dumps(line(str(number), body={})).encode() for number in range(MOST_LINES + 1)]
    assert (await validate(pieces(b"\n".join(lines[:-1])), CHAT)).faults == ()
    assert [fault.code for fault in (await validate(pieces(b"\n".join(lines)), CHAT)).faults] == ["too_many_lines"]


async def test_embeddings_have_a_limit_of_inputs() -> None:
    many = {"model": "m", "input": ["x"] * 30_000}
    verdict = await validate(pieces(text([line("a", url=EMBEDDINGS, body=many), line("b", url=EMBEDDINGS, body=many)])), EMBEDDINGS)
    assert [fault.code for fault in verdict.faults] == ["too_many_inputs"]


async def test_invalid_request_bodies_are_not_faults_of_the_input_file() -> None:
    odd = [
        line("a", body={}),
        line("b", body={"model": 5}),
        line("c", body={"model": "x", "messages": "no"}),
        line("d", body={"stream": True}),
    ]
    verdict = await validate(pieces(text(odd)), CHAT)
    assert (verdict.faults, verdict.model) == ((), None)


async def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * (1 << 20)

    tracemalloc.start()
    verdict = await validate(endless(), CHAT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [fault.code for fault in verdict.faults] == ["line_too_large"]
    assert peak < 16 << 20


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
async def test_line_in_another_encoding_says_that_the_file_must_be_utf_8(encoding: str) -> None:
    text = '{"custom_id": "ä"}'.encode(encoding)
    (fault,) = (await validate(pieces(text), "/v1/embeddings")).faults
    assert fault.message == "This line is not UTF-8: the file must be UTF-8."
