"""Real requests through the pipeline, and what is said of each: what was decided, from what, when, and what would have changed it."""

import tracemalloc
from typing import Any

import pytest

from penstock.domain.decisions import Explanation, FailedTry, LimitStanding, ScoredCandidate, ShadowChoice
from penstock.serving.explain.ring import BYTES_PER_DECISION, DecisionRing
from penstock.serving.explain.sample import DecisionSample
from penstock.serving.explain.view import RingView
from penstock.serving.pipeline import PipelineRules
from tests.unit.serving.pipeline.pipeline_bench import PipelineBench


def last(bench: PipelineBench) -> Explanation:
    (found,) = RingView(bench.deps.decisions).latest(None, 1)
    return found


def steps(decision: Explanation) -> list[str]:
    return [f"{step.at_seconds:g} {step.what}" for step in decision.timeline]


def test_a_request_that_was_served_at_once() -> None:
    bench = PipelineBench(a=2, b=2)
    bench.ask()
    bench.clock.advance(0.5)
    bench.sent[0].answer()
    decision = last(bench)
    chosen, other = sorted(decision.candidates, key=lambda each: not each.chosen)
    assert chosen == ScoredCandidate(bench.sent[0].worker_id, 0, 2, 0, 0, 0.0, chosen=True, usable=True)
    assert other.worker_id != chosen.worker_id
    assert (decision.id, decision.outcome, decision.status, decision.code) == ("req_1", "answered", 200, "")
    assert (decision.policy, decision.pool, decision.tier, decision.service_class) == ("power_of_two", "standard", "default", "enterprise")
    assert (decision.seconds, decision.queue_seconds, decision.tries, decision.shadow) == (0.5, 0.0, (), None)
    assert {each.name for each in decision.limits} == {"requests", "tokens"}
    assert steps(decision) == [
        "0 arrived for m, class enterprise",
        f"0 sent to {chosen.worker_id} in pool standard, chosen by power_of_two",
        "0.5 first token",
        "0.5 answered: 2 tokens, tier default",
    ]
    assert decision.advice == ()


def test_limits_are_told_as_the_client_was_told_them() -> None:
    bench = PipelineBench(a=1)
    bench.ask()
    bench.sent[0].answer()
    requests, tokens = last(bench).limits
    assert isinstance(requests, LimitStanding)
    assert 0 < requests.remaining < requests.limit
    assert 0 < tokens.remaining <= tokens.limit


def test_a_request_that_waited() -> None:
    bench = PipelineBench(a=1)
    bench.ask()
    bench.ask()
    bench.clock.advance(3.0)
    bench.sent[0].answer()
    bench.sent[1].answer()
    decision = last(bench)
    assert (decision.waiting, decision.queue_seconds, decision.outcome) == (1, 3.0, "answered")
    assert steps(decision)[1] == "0 no free slot in standard: queued at position 1"
    assert steps(decision)[2].startswith("3 sent to a")
    settings = [each.setting for each in decision.advice]
    assert settings[0] == "workers"
    assert "policy: class weights" in settings


def test_a_request_that_was_tried_again() -> None:
    bench = PipelineBench(a=1, b=1)
    bench.ask()
    bench.clock.advance(0.25)
    bench.sent[0].fail()
    bench.sent[1].answer()
    decision = last(bench)
    assert decision.tries == (FailedTry(bench.sent[0].worker_id, "reset: told to", 0.25, busy=False),)
    assert decision.worker_id == bench.sent[1].worker_id
    assert [each.usable for each in decision.candidates if each.worker_id == bench.sent[0].worker_id] == [False]
    assert [each.setting for each in decision.advice] == ["routing.eject_after"]


def test_a_stream_that_broke_off_and_one_that_the_client_left() -> None:
    bench = PipelineBench(a=2)
    bench.ask(stream=True)
    bench.sent[0].begin_stream()
    bench.sent[0].token()
    bench.sent[0].fail()
    assert (last(bench).outcome, last(bench).status, last(bench).completion_tokens) == ("broke_off", 200, 1)
    flight, _ = bench.ask(stream=True)
    bench.sent[1].begin_stream()
    bench.sent[1].token()
    flight.cancel()
    assert last(bench).outcome == "client_left"


def test_a_request_whose_client_left_the_line() -> None:
    bench = PipelineBench(a=1)
    bench.ask()
    flight, _ = bench.ask()
    bench.clock.advance(2.0)
    flight.cancel()
    decision = last(bench)
    assert (decision.outcome, decision.status, decision.queue_seconds, decision.worker_id) == ("client_left", 0, 2.0, "")


@pytest.mark.parametrize(
    ("fields", "code", "setting"),
    [
        ({"model": "unknown"}, "model_not_found", "models"),
        ({"service_tier": "nonsense"}, "invalid_request_error", None),
        ({"max_tokens": 9_000_000, "n": 128}, "rate_limit_exceeded", "plan: requests_per_minute, tokens_per_minute, concurrency"),
    ],
)
def test_refusals_name_the_setting(fields: dict[str, Any], code: str, setting: str | None) -> None:
    bench = PipelineBench(a=1)
    bench.ask(**fields)
    decision = last(bench)
    assert (decision.outcome, decision.code, decision.worker_id) == ("refused", code, "")
    assert (decision.advice[0].setting if decision.advice else None) == setting
    assert steps(decision)[-1].startswith(f"0 refused with {decision.status} {code}")


def test_a_request_that_waited_until_its_deadline() -> None:
    bench = PipelineBench(a=1, rules=PipelineRules(max_wait_seconds=4.0))
    bench.ask()
    bench.ask()
    bench.pass_time(5.0)
    decision = last(bench)
    assert (decision.code, decision.queue_seconds, decision.waiting) == ("deadline_exceeded", 5.0, 1)
    assert decision.advice[0].setting == "request: timeout"


def test_every_try_failed() -> None:
    bench = PipelineBench(a=1, b=1)
    bench.ask()
    bench.sent[0].fail()
    bench.sent[1].fail()
    decision = last(bench)
    assert (decision.outcome, decision.status, len(decision.tries)) == ("refused", 502, 2)
    assert decision.advice[0].setting == "routing.retry_share, routing.retry_floor"


def test_the_shadow_is_asked_and_not_followed() -> None:
    bench = PipelineBench(a=4, b=4)
    bench.workers.set_policy("m", "least_requests", "round_robin")
    for _ in range(4):
        bench.ask()
        bench.sent[-1].answer()
    decisions = RingView(bench.deps.decisions).latest(None, 10)
    assert all(isinstance(each.shadow, ShadowChoice) for each in decisions)
    for each in decisions:
        assert each.shadow is not None
        differs = [advice for advice in each.advice if advice.setting == "routing.policy"]
        assert each.shadow.agreed is not bool(differs)
    assert sum(bench.workers.shadows()["m"]) == 4


def test_prompts_that_begin_alike_go_to_the_same_worker() -> None:
    bench = PipelineBench(a=8, b=8, c=8)
    bench.workers.set_policy("m", "prefix_affinity")
    text = "a system prompt of some length " * 40
    for number in range(6):
        bench.ask(messages=[{"role": "system", "content": text}, {"role": "user", "content": f"question {number}"}])
        bench.sent[-1].answer()
    assert len({sent.worker_id for sent in bench.sent}) == 1
    chosen = next(each for each in last(bench).candidates if each.chosen)
    assert chosen.cached_tokens >= 256
    assert chosen.score == chosen.cached_tokens
    assert bench.leaks() == {}


# memory


def test_the_ring_keeps_the_latest_and_no_more() -> None:
    bench = PipelineBench(a=1)
    bench.deps.decisions = DecisionRing(3 * BYTES_PER_DECISION)
    for _ in range(5):
        bench.ask()
        bench.sent[-1].answer()
    ring = bench.deps.decisions
    assert [each.request_id for each in ring.latest(None, 10)] == ["req_5", "req_4", "req_3"]
    assert ring.latest("another", 10) == []
    assert ring.find("req_1") is None
    found = ring.find("req_4")
    assert found is not None
    assert found.request_id == "req_4"


def test_a_decision_takes_no_more_memory_than_is_reckoned_for_it() -> None:
    count, names = 300, {f"worker{number}": 64 for number in range(12)}
    bench = PipelineBench(rules=PipelineRules(), **names)
    bench.deps.decisions = DecisionRing(count * BYTES_PER_DECISION)
    bench.workers.set_policy("m", "prefix_affinity", "least_requests")

    def ask() -> None:
        flight, _ = bench.ask(messages=[{"role": "user", "content": "long " * 500}], stream=True)
        bench.sent[-1].begin_stream()
        bench.sent[-1].token()
        flight.cancel()
        bench.transport.sent.clear()
        bench.journal.records.clear()
        bench.observed.outcomes.clear()
        bench.pass_time(0.0)

    for _ in range(50):
        ask()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(count):
        ask()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(bench.deps.decisions) == count
    assert 0 < (after - before) / (count - 50) < BYTES_PER_DECISION


def test_the_sample_takes_each_once_and_the_telling_ones_first() -> None:
    bench = PipelineBench(a=1)
    sample = DecisionSample(bench.deps.decisions, 1.0, 3, lambda: 0.5)
    for _ in range(3):
        bench.ask()
        bench.sent[-1].answer()
    bench.ask(model="unknown")
    bench.ask(model="unknown")
    assert [each.request_id for each in sample.take()] == ["req_4", "req_5", "req_3"]
    assert sample.take() == []
    bench.ask()
    bench.sent[-1].answer()
    assert [each.request_id for each in sample.take()] == ["req_6"]


def test_of_the_ordinary_ones_a_share() -> None:
    bench = PipelineBench(a=1)
    draws = iter([0.5, 0.05, 0.9])
    sample = DecisionSample(bench.deps.decisions, 0.1, 20, lambda: next(draws))
    for _ in range(3):
        bench.ask()
        bench.sent[-1].answer()
    assert [each.request_id for each in sample.take()] == ["req_2"]
