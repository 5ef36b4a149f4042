"""A request that must be sent elsewhere finds the queue full: it is refused, and gives everything back."""

import json

from penstock.serving.pipeline import PipelineRules
from tests.unit.serving.pipeline.pipeline_bench import PipelineBench

UNSUPPORTED = {"message": "no top_k", "type": "invalid_request_error", "param": "top_k", "code": "unsupported_parameter"}


def test_worker_that_lacks_a_parameter_while_the_queue_is_full_ends_the_request_with_429() -> None:
    bench = PipelineBench(rules=PipelineRules(queue_limit=1), a=1, c=1)
    (_, first), (_, second), (_, waiting) = (bench.ask() for _ in range(3))
    bench.sent[0].sink.answered(400, [(b"content-type", b"application/json")], json.dumps({"error": UNSUPPORTED}).encode())
    assert first.status == 429
    for sent in bench.sent[1:]:
        sent.answer()
    bench.sent[2].answer()
    assert (second.status, waiting.status, bench.leaks()) == (200, 200, {})


def test_retry_that_meets_an_incompatible_worker_and_a_full_queue_gives_back_its_slot() -> None:
    bench = PipelineBench(rules=PipelineRules(queue_limit=1), c=1, d=1)
    (_, failing), (_, running) = bench.ask(top_k=5), bench.ask(top_k=5)
    bench.join("a", 1)
    bench.workers.set_unsupported_parameters("a", frozenset({"top_k"}))
    _, waiting = bench.ask(top_k=5)
    bench.sent[0].fail()
    assert failing.status == 429
    for sent in list(bench.sent[1:]):
        sent.answer()
    assert (running.status, waiting.status, bench.leaks()) == (200, 200, {})
