"""Tenants in one pipeline: what one does to its own workers is not felt by another, and its names are not seen."""

import json

from tests.unit.serving.pipeline.pipeline_bench import PipelineBench
from tests.unit.serving.routing.members import worker


def join(bench: PipelineBench, name: str, model: str) -> None:
    """A worker of org_b."""
    bench.deps.workers.put(worker(name, models=(model,), org_id="org_b"))
    bench.deps.workers.alive(name)


def test_each_owner_of_workers_has_a_retry_budget_of_its_own() -> None:
    bench = PipelineBench(a=4, b=4)
    route = bench.deps.route("m", "org_a")
    assert route is not None
    join(bench, "own", "theirs")
    own = bench.deps.route("theirs", "org_b")
    assert own is not None
    assert own.budget is not route.budget
    while own.budget.take(0.0):
        pass
    assert route.budget.take(0.0)
    assert bench.deps.retrying == own.budget.retrying + 1


def test_queue_of_a_private_model_is_named_to_its_owner_alone() -> None:
    bench = PipelineBench(a=1)
    join(bench, "own", "secret")
    for model, org_id in (("m", "org_a"), ("secret", "org_b")):
        assert bench.deps.route(model, org_id) is not None
    assert bench.pipeline.queues() == {"m": 0, "private": 0}
    assert bench.pipeline.queues(("org_a",)) == {"m": 0, "private": 0}
    assert bench.pipeline.queues(("org_b",)) == {"m": 0, "secret": 0}
    bench.deps.workers.remove("own")
    bench.pipeline.forget_unused()
    assert bench.pipeline.queues(("org_b",)) == {"m": 0}


PROMPT = "my secret prompt"


def test_prompt_that_an_engine_repeats_in_its_refusal_is_for_the_caller_alone() -> None:
    bench = PipelineBench(a=1)
    _, reply = bench.ask()
    body = json.dumps({"error": {"message": f"cannot parse '{PROMPT}'", "type": "invalid_request_error"}}).encode()
    bench.sent[0].sink.answered(400, [(b"content-type", b"application/json")], body)
    assert reply.error is not None
    assert PROMPT in reply.error.message
    (decision,) = bench.deps.decisions.latest(None, 1)
    assert (decision.status, PROMPT in repr(decision)) == (400, False)


def test_prompt_that_an_engine_repeats_in_a_failure_is_not_in_the_decision() -> None:
    bench = PipelineBench(a=1)
    _, reply = bench.ask(stream=True)
    body = json.dumps({"error": {"message": f"crashed at '{PROMPT}'", "type": "server_error", "code": 500}}).encode()
    bench.sent[0].sink.answered(200, [(b"content-type", b"text/event-stream")], b"data: " + body + b"\n\n")
    assert reply.status >= 500
    (decision,) = bench.deps.decisions.latest(None, 1)
    assert decision.tries
    assert PROMPT not in repr(decision)
