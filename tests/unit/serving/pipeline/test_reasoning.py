"""Reasoning models: their thoughts pass as they are, or under one name where the upstream's operator asks for it; and are counted."""

import json
from dataclasses import replace
from typing import Any

import pytest

from penstock.domain.workers import UpstreamAccess
from tests.unit.serving.pipeline.pipeline_bench import PipelineBench
from tests.unit.serving.routing.members import worker


def bench(*, normalise: bool) -> PipelineBench:
    made = PipelineBench()
    made.workers.put(replace(worker("a", 1), access=UpstreamAccess(normalise_reasoning=normalise)))
    made.workers.alive("a")
    return made


def answered(made: PipelineBench, message: dict[str, Any], usage: dict[str, Any] | None = None) -> dict[str, Any]:
    _, reply = made.ask(max_tokens=1000)
    body: dict[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    made.sent[-1].sink.answered(200, [], json.dumps(body if usage is None else {**body, "usage": usage}).encode())
    found: dict[str, Any] = json.loads(reply.data)
    return found


@pytest.mark.parametrize(
    "message", [{"content": "4", "reasoning": "abc"}, {"content": "<think>abc</think>4"}, {"content": "4", "thinking": "abc"}]
)
def test_reasoning_of_a_whole_answer_is_renamed_on_request_only(message: dict[str, Any]) -> None:
    assert answered(bench(normalise=False), message)["choices"][0]["message"] == message
    assert answered(bench(normalise=True), message)["choices"][0]["message"] == {"content": "4", "reasoning_content": "abc"}


@pytest.mark.parametrize(("normalise", "thoughts"), [(False, b'"reasoning": "abc"'), (True, b'"reasoning_content":"abc"')])
def test_reasoning_of_a_stream_is_renamed_on_request_only(normalise: bool, thoughts: bytes) -> None:
    made = bench(normalise=normalise)
    _, reply = made.ask(stream=True)
    made.sent[0].sink.head(200, [(b"content-type", b"text/event-stream")])
    made.sent[0].sink.data(b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"reasoning": "abc"}}]}).encode() + b"\n\n")
    made.sent[0].token("4")
    made.sent[0].end_stream()
    assert (thoughts in reply.data, reply.terminal_events) == (True, 1)
    record = made.journal.records[0]
    assert (record.completion_tokens, record.reasoning_tokens) == (2, 1)


def test_reasoning_that_is_not_told_is_counted_and_told_to_the_client() -> None:
    made = bench(normalise=False)
    usage = {"prompt_tokens": 7, "completion_tokens": 100, "total_tokens": 107}
    shown = answered(made, {"content": "x" * 100, "reasoning_content": "y" * 300}, usage)["usage"]
    record = made.journal.records[0]
    assert (record.completion_tokens, record.reasoning_tokens, record.estimated) == (100, 75, False)
    assert (shown["completion_tokens"], shown["completion_tokens_details"]["reasoning_tokens"]) == (100, 75)


def test_reasoning_that_is_told_is_taken() -> None:
    made = bench(normalise=True)
    usage = {"prompt_tokens": 7, "completion_tokens": 100, "total_tokens": 107, "completion_tokens_details": {"reasoning_tokens": 60}}
    assert answered(made, {"content": "<think>" + "y" * 300 + "</think>" + "x" * 100}, usage)["usage"] == usage
    assert made.journal.records[0].reasoning_tokens == 60
