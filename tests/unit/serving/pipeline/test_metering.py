"""What is billed when engines say nothing, too little, too much, or rubbish about their tokens."""

import json
from typing import Any

import pytest

from penstock.domain.usage import Outcome, UsageRecord
from tests.unit.serving.pipeline.pipeline_bench import MemoryReply, PipelineBench, SentRequest

FAT = "x" * 4000


def chunk(**delta: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


def event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def begun(bench: PipelineBench, **fields: Any) -> tuple[Any, MemoryReply, SentRequest]:
    """A stream to an upstream, which does not tell the prompt's tokens first."""
    request, reply = bench.ask(stream=True, **fields)
    sent = bench.sent[-1]
    sent.sink.head(200, [(b"content-type", b"text/event-stream")])
    return request, reply, sent


def figures(record: UsageRecord) -> tuple[Outcome, int, bool, bool, int]:
    return record.outcome, record.completion_tokens, record.estimated, record.disputed, record.reported_completion_tokens


def whole(bench: PipelineBench, usage: Any, text: str = "x" * 400, **fields: Any) -> tuple[MemoryReply, UsageRecord]:
    _, reply = bench.ask(**fields)
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    bench.sent[-1].sink.answered(200, [], json.dumps(body if usage is None else {**body, "usage": usage}).encode())
    return reply, bench.journal.records[-1]


@pytest.mark.parametrize("leave", [True, False], ids=["client left", "worker failed"])
def test_stream_that_breaks_off_is_billed_by_the_text_that_was_relayed(leave: bool) -> None:
    bench = PipelineBench(a=1)
    request, _, sent = begun(bench, max_tokens=5000)
    for _ in range(3):
        sent.sink.data(chunk(content=FAT))
    assert bench.journal.slots[0].completion == 3000
    if leave:
        request.cancel()
    else:
        sent.fail()
    outcome = Outcome.CLIENT_LEFT if leave else Outcome.FAILED
    assert figures(bench.journal.records[0]) == (outcome, 3000, True, False, 0)
    assert bench.leaks() == {}


def test_first_chunk_is_in_the_slot_by_its_text() -> None:
    bench = PipelineBench(a=1)
    _, _, sent = begun(bench, max_tokens=5000)
    sent.sink.data(chunk(content=FAT))
    record = bench.journal.slots[0].record
    assert (record.completion_tokens, record.estimated) == (1000, True)


def test_limit_of_tokens_settles_to_what_is_billed() -> None:
    bench = PipelineBench(a=1)
    before = bench.deps.gate.header_block(bench.principal, bench.clock.monotonic())
    request, _, sent = begun(bench, max_tokens=5000)
    sent.sink.data(chunk(content=FAT))
    request.cancel()
    record = bench.journal.records[0]
    left = [
        int(block.split(b"remaining-tokens: ")[1].split(b"\r")[0])
        for block in (before, bench.deps.gate.header_block(bench.principal, bench.clock.monotonic()))
    ]
    assert left[0] - left[1] == record.prompt_tokens + record.completion_tokens == 1000 + record.prompt_tokens


def test_stream_of_our_own_worker_is_counted_by_its_chunks() -> None:
    bench = PipelineBench(a=1)
    request, _ = bench.ask(stream=True)
    bench.sent[0].sink.head(200, [(b"content-type", b"text/event-stream"), (b"x-penstock-prompt-tokens", b"31")])
    for _ in range(3):
        bench.sent[0].sink.data(chunk(content="incomprehensible"))
    request.cancel()
    record = bench.journal.records[0]
    assert (record.prompt_tokens, record.completion_tokens, record.estimated) == (31, 3, False)


@pytest.mark.parametrize(("told", "text"), [(b"999999999", "a"), (b"31", FAT)], ids=["absurd prompt", "fat chunks"])
def test_upstream_that_passes_itself_off_as_our_worker_is_estimated(told: bytes, text: str) -> None:
    bench = PipelineBench(a=1)
    request, _ = bench.ask(stream=True, max_tokens=5000)
    bench.sent[0].sink.head(200, [(b"content-type", b"text/event-stream"), (b"x-penstock-prompt-tokens", told)])
    bench.sent[0].sink.data(chunk(content=text))
    request.cancel()
    record = bench.journal.records[0]
    assert (record.prompt_tokens < 100, record.completion_tokens, record.estimated) == (True, -(-len(text) // 4), True)


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (None, (100, True, False, 0)),
        ({}, (100, True, False, 0)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, (100, True, False, 0)),
        ({"prompt_tokens": 7, "completion_tokens": -1, "total_tokens": 6}, (100, True, False, 0)),
        ({"prompt_tokens": 7, "completion_tokens": 8.5}, (100, True, False, 0)),
        ({"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}, (100, True, True, 0)),
        ({"prompt_tokens": 7, "completion_tokens": 2**31 - 1}, (100, True, True, 2**31 - 1)),
        ({"prompt_tokens": 7, "completion_tokens": 90, "total_tokens": 97}, (90, False, False, 0)),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_odd_report_passes_the_answer_and_is_billed_as_it_can_be(usage: Any, found: tuple[Any, ...], stream: bool) -> None:
    bench = PipelineBench(a=1)
    if stream:
        _, reply, sent = begun(bench, max_tokens=200, stream_options={"include_usage": True})
        for _ in range(100):
            sent.sink.data(chunk(content="tok "))
        sent.sink.data(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        if usage is not None:
            sent.sink.data(event({"choices": [], "usage": usage}))
        sent.sink.data(b"data: [DONE]\n\n")
        told = [json.loads(each[6:])["usage"] for each in reply.data.split(b"\n\n") if b'"usage":{' in each.replace(b" ", b"")]
        record = bench.journal.records[0]
        assert (len(told), reply.terminal_events) == (1, 1)
    else:
        reply, record = whole(bench, usage, max_tokens=200)
        told = [json.loads(reply.data)["usage"]]
    assert (reply.status, figures(record)) == (200, (Outcome.COMPLETED, *found))
    assert (told[0]["prompt_tokens"], told[0]["completion_tokens"]) == (record.prompt_tokens, record.completion_tokens)


def test_engine_that_runs_over_the_limit_is_cut_and_stopped() -> None:
    bench = PipelineBench(a=1)
    _, reply, sent = begun(bench, max_tokens=5)
    for _ in range(50):
        sent.sink.data(chunk(content="tok "))
    assert sent.cancelled
    assert (reply.data.count(b'"tok "'), reply.data.count(b'"finish_reason":"length"'), reply.terminal_events) == (5, 1, 1)
    assert figures(bench.journal.records[0]) == (Outcome.COMPLETED, 5, True, False, 0)
    assert bench.leaks() == {}


def test_whole_answer_that_runs_over_the_limit_is_cut() -> None:
    reply, record = whole(
        PipelineBench(a=1), {"prompt_tokens": 7, "completion_tokens": 50_000, "total_tokens": 50_007}, "tok " * 50_000, max_tokens=5
    )
    choice = json.loads(reply.data)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("tok " * 5, "length")
    assert figures(record) == (Outcome.COMPLETED, 5, True, True, 50_000)


def test_error_without_choices_is_a_failure_of_the_worker_and_costs_nothing() -> None:
    bench = PipelineBench(a=1, b=1)
    _, reply = bench.ask()
    bench.sent[0].sink.answered(200, [], b'{"choices":[],"error":{"code":502,"message":"overloaded"},"usage":{"prompt_tokens":7}}')
    assert (len(bench.sent), reply.over, bench.journal.records) == (2, False, [])
    bench.sent[1].answer()
    assert (reply.status, len(bench.journal.records), bench.journal.records[0].retries) == (200, 1, 1)
