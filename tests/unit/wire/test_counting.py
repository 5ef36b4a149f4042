"""What is counted for an answer: the engine's report where it can be true, our estimate otherwise."""

from typing import Any

import pytest

from penstock.domain.inference import Operation
from penstock.domain.tokens import Doubt, TokenCount, UsageReport
from penstock.wire.chat import requests
from penstock.wire.chat.counting import NO_LIMIT, Seen, counted, echoed_bytes, estimate, message_bytes, most_prompt
from penstock.wire.usage import read_usage, usage_report

TEXT = Seen(100, 400, 0)
"""A hundred pieces of four bytes."""


def judged(report: UsageReport | None, seen: Seen = TEXT, limit: int = NO_LIMIT, seconds: float = 1.0, *, whole: bool = True) -> TokenCount:
    return counted(report, seen, 9, limit, seconds, whole=whole)


@pytest.mark.parametrize(
    ("usage", "report"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 15}, UsageReport(7, 8)),
        ({"prompt_tokens": 7.0, "completion_tokens": 8}, UsageReport(7, 8)),
        ({"prompt_tokens": 7, "completion_tokens": -1}, UsageReport(7, None, unreadable="completion_tokens")),
        ({"prompt_tokens": 7, "completion_tokens": 8.5}, UsageReport(7, None, unreadable="completion_tokens")),
        ({"prompt_tokens": True, "completion_tokens": "8"}, UsageReport(None, None, unreadable="prompt_tokens, completion_tokens")),
        ({"prompt_tokens": 10**30}, UsageReport(None, None, unreadable="prompt_tokens")),
        ({}, UsageReport(None, None)),
        ([], UsageReport(None, None, unreadable="usage")),
        ("lots", UsageReport(None, None, unreadable="usage")),
        ({"prompt_tokens": 1000, "completion_tokens": 10, "prompt_cache_hit_tokens": 900}, UsageReport(1000, 10, 900)),
        ({"prompt_tokens": 1000, "completion_tokens": 10, "cached_tokens": 900}, UsageReport(1000, 10, 900)),
        (
            {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}, "prompt_cache_hit_tokens": 7},
            UsageReport(9, 5, 4),
        ),
        ({"input_tokens": 4, "output_tokens": 6, "output_tokens_details": {"reasoning_tokens": 2}}, UsageReport(4, 6, 0, 2)),
        ({"promptTokenCount": 4, "candidatesTokenCount": 6, "thoughtsTokenCount": 3, "totalTokenCount": 13}, UsageReport(4, 9, 0, 3)),
        ({"prompt_tokens": 4, "completion_tokens": 6, "reasoning_tokens": 2}, UsageReport(4, 6, 0, 2)),
        (
            {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 530, "completion_tokens_details": {"reasoning_tokens": 500}},
            UsageReport(10, 520, 0, 500),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 530}, UsageReport(10, 520, 0, 500)),
        (
            {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30, "completion_tokens_details": {"reasoning_tokens": 15}},
            UsageReport(10, 20, 0, 15),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 500}},
            UsageReport(10, 520, 0, 500),
        ),
        ({"prompt_tokens": 10}, UsageReport(10, None)),
    ],
)  # fmt: skip
def test_usage_object_is_read_whatever_its_names(usage: Any, report: UsageReport) -> None:
    assert (read_usage(usage), usage_report(usage)) == (report, report)


@pytest.mark.parametrize(
    ("chunks", "size", "tokens"), [(0, 0, 0), (0, 1, 1), (0, 12_000, 3000), (3, 12_000, 3000), (100, 400, 100), (100, 90, 100)]
)
def test_estimate_is_of_the_text_and_at_least_one_token_a_piece(chunks: int, size: int, tokens: int) -> None:
    assert estimate(chunks, size) == tokens


def test_plausible_report_is_taken() -> None:
    assert judged(UsageReport(7, 120, 3, 40)) == TokenCount(7, 120, 3, 40)


@pytest.mark.parametrize("report", [None, UsageReport(None, None), UsageReport(0, 0)], ids=["none", "empty", "zeros"])
def test_report_that_says_nothing_is_estimated(report: UsageReport | None) -> None:
    assert judged(report) == TokenCount(9, 100, estimated=True)


def test_zeros_without_text_leave_the_completion_at_zero() -> None:
    assert judged(UsageReport(0, 0), Seen(0, 0, 0)) == TokenCount(9, 0, estimated=True)


@pytest.mark.parametrize("completion", [0, 1, 5])
def test_report_below_what_was_relayed_is_disputed(completion: int) -> None:
    assert judged(UsageReport(7, completion)) == TokenCount(7, 100, estimated=True, doubt=Doubt(7, completion, disputed=True))


@pytest.mark.parametrize("completion", [2**31 - 1, 400_000])
def test_report_beyond_what_can_be_is_disputed(completion: int) -> None:
    assert judged(UsageReport(7, completion)) == TokenCount(7, 100, estimated=True, doubt=Doubt(7, completion, disputed=True))


def test_report_above_the_clients_limit_is_disputed_and_the_limit_counts() -> None:
    found = judged(UsageReport(7, 2**31 - 1), limit=5)
    assert (found.completion, found.doubt) == (5, Doubt(7, 2**31 - 1, disputed=True))


def test_absurd_prompt_is_disputed() -> None:
    found = judged(UsageReport(2**31 - 1, 100))
    assert (found.prompt, found.completion, found.doubt) == (9, 100, Doubt(2**31 - 1, 100, disputed=True))
    assert judged(UsageReport(most_prompt(9), 100)).doubt is None


def test_hidden_reasoning_is_taken_by_the_time_that_it_took() -> None:
    assert judged(UsageReport(7, 30_000), seconds=10.0).doubt is None
    assert judged(UsageReport(7, 30_000), seconds=0.1).doubt is not None


def test_reasoning_beside_the_limit_of_the_answer_is_taken() -> None:
    assert judged(UsageReport(7, 600, 0, 500), limit=100) == TokenCount(7, 600, 0, 500)


def test_cached_and_reasoning_are_parts() -> None:
    assert judged(UsageReport(7, 120, 900)) == TokenCount(7, 120, 7, 0)


def test_early_report_of_a_stream_that_broke_off_is_not_the_last_word() -> None:
    assert judged(UsageReport(7, 1), whole=False) == TokenCount(7, 100, estimated=True)


def test_unreadable_field_is_estimated_and_named() -> None:
    found = judged(UsageReport(7, None, unreadable="completion_tokens"))
    assert found == TokenCount(7, 100, estimated=True, doubt=Doubt(7, 0, disputed=False, unreadable="completion_tokens"))


def test_reasoning_that_is_not_told_is_its_share_of_the_text() -> None:
    assert judged(UsageReport(7, 80), Seen(0, 400, 100)).reasoning == 20
    assert judged(UsageReport(7, 3), Seen(3, 11, 10)).reasoning == 2
    assert judged(UsageReport(7, 3), Seen(3, 11, 11)).reasoning == 3
    assert judged(None, Seen(0, 400, 100)) == TokenCount(9, 100, 0, 25, estimated=True)


@pytest.mark.parametrize(
    ("content", "reasoning", "others", "found"),
    [
        ("über", None, [], (5, 0)),
        (None, "think", [], (5, 5)),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "see"}]}, {"type": "text", "text": "It is"}], None, [], (8, 3)),
        (None, None, [[{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}]], (8, 0)),
        ([{"type": "image_url", "image_url": {"url": "data:" + "A" * 1000}}], None, [], (0, 0)),
        (5, {"a": 1}, [None], (0, 0)),
    ],
)
def test_text_of_a_message_is_measured_whatever_its_shape(content: Any, reasoning: Any, others: list[Any], found: tuple[int, int]) -> None:
    assert message_bytes(content, reasoning, others) == found


@pytest.mark.parametrize(
    ("body", "size"), [(b'"prompt":"abc","echo":true,"n":2', 6), (b'"prompt":["a","bc"],"echo":true', 3), (b'"prompt":"abc"', 0)]
)
def test_echoed_prompt_is_no_text_of_the_answer(body: bytes, size: int) -> None:
    assert echoed_bytes(requests.decode(Operation.COMPLETION, b'{"model":"m",' + body + b"}", 64)) == size
