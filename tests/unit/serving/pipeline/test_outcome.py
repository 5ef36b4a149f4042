"""What is kept of a request that has ended: every value of its outcome and of its usage record, by the name of the field."""

import json

from msgspec.structs import asdict

from penstock.domain.decisions import FailedTry
from penstock.domain.inference import Operation
from penstock.domain.principal import Pool, ServiceClass
from penstock.domain.tokens import TokenCount
from penstock.domain.usage import Outcome, UsageRecord
from tests.unit.serving.pipeline.pipeline_bench import PipelineBench


def stream_that_was_queued_and_retried() -> PipelineBench:
    """Arrives at 0 s, is at a worker at 1 s, at another one at 3 s, has its first token at 7 s and ends at 12 s."""
    bench = PipelineBench(a=1, b=1)
    bench.ask()
    bench.ask()
    bench.ask(stream=True, timeout=30.0)
    bench.clock.advance(1.0)
    bench.sent[0].answer()
    bench.clock.advance(2.0)
    bench.sent[1].answer()
    bench.sent[2].fail()
    bench.clock.advance(4.0)
    bench.sent[3].begin_stream()
    bench.sent[3].token("a")
    bench.clock.advance(5.0)
    usage = {"prompt_tokens": 31, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5}}
    usage |= {"completion_tokens_details": {"reasoning_tokens": 3}}
    bench.sent[3].sink.data(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
    bench.sent[3].end_stream()
    return bench


def test_outcome_of_a_queued_and_retried_stream_has_every_value_in_its_field() -> None:
    bench = stream_that_was_queued_and_retried()
    arrived, wall = bench.clock.monotonic() - 12.0, bench.clock.time() - 12.0
    first, second = bench.sent[2].worker_id, bench.sent[3].worker_id
    found = bench.observed.outcomes[-1]
    values = asdict(found)
    snapshot, demand, limits = values.pop("snapshot"), values.pop("demand"), values.pop("limits")
    assert values == {
        "request_id": "req_3",
        "principal": bench.principal,
        "service_class": ServiceClass.ENTERPRISE,
        "operation": Operation.CHAT,
        "model": "m",
        "pools": (Pool.STANDARD,),
        "pool": Pool.STANDARD,
        "tier": "default",
        "worker_id": second,
        "waiting": 1,
        "queue_seconds": 1.0,
        "tries": (FailedTry(first, "reset: told to", 3.0, busy=False),),
        "retries": 1,
        "arrived": arrived,
        "first_token_at": arrived + 7.0,
        "ended": arrived + 12.0,
        "started_at": wall,
        "status": 200,
        "code": "",
        "message": "",
        "count": TokenCount(31, 9, 5, 3),
        "timeout_seconds": 30.0,
    }
    assert (found.seconds, found.ttft_seconds, found.completion_tokens, found.served_tier) == (12.0, 7.0, 9, "default")
    assert (demand.request_id, demand.max_tokens, demand.stream) == ("req_3", 10, True)
    assert (snapshot.policy, snapshot.available, len(snapshot.candidates)) == ("power_of_two", 2, 2)
    assert limits.startswith(b"x-ratelimit-limit-requests: ")
    assert bench.deps.decisions.find("req_3") is found


def test_usage_record_of_a_queued_and_retried_stream_has_every_value_in_its_field() -> None:
    bench = stream_that_was_queued_and_retried()
    wall = bench.clock.time() - 12.0
    assert asdict(bench.journal.records[-1]) == asdict(
        UsageRecord(
            request_id="req_3",
            org_id="org",
            key_id="key",
            model="m",
            operation="chat",
            service_tier="default",
            service_class="enterprise",
            worker_id=bench.sent[3].worker_id,
            outcome=Outcome.COMPLETED,
            prompt_tokens=31,
            completion_tokens=9,
            cached_tokens=5,
            reasoning_tokens=3,
            estimated=False,
            cost_micros=0,
            started_at=wall,
            finished_at=wall + 12.0,
            ttft_ms=7000.0,
            queue_ms=1000.0,
            retries=1,
            status=200,
            client_request_id="",
            currency="USD",
        )
    )


def test_outcome_of_a_request_for_an_unknown_model_has_only_what_was_known() -> None:
    bench = PipelineBench(a=1)
    bench.ask(model="absent", timeout=5.0)
    (found,) = bench.deps.decisions.latest(None, 1)
    values = asdict(found)
    assert values.pop("message")
    assert b"ratelimit" in values.pop("limits")
    now = bench.clock.monotonic()
    assert values == {
        "request_id": "req_1",
        "principal": bench.principal,
        "service_class": ServiceClass.ENTERPRISE,
        "operation": Operation.CHAT,
        "model": "",
        "demand": None,
        "pools": (),
        "pool": None,
        "tier": "",
        "worker_id": "",
        "snapshot": None,
        "waiting": 0,
        "queue_seconds": 0.0,
        "tries": (),
        "retries": 0,
        "arrived": now,
        "first_token_at": None,
        "ended": now,
        "started_at": bench.clock.time(),
        "status": 404,
        "code": "model_not_found",
        "count": None,
        "timeout_seconds": 5.0,
    }
    assert bench.observed.outcomes == [], "no worker was asked"
    assert bench.observed.refusals == ["model_not_found"]


def test_failed_request_is_observed_with_the_tier_it_was_tried_at_but_none_served() -> None:
    bench = PipelineBench(a=1)
    bench.ask()
    bench.sent[0].fail()
    (found,) = bench.observed.outcomes
    assert (found.tier, found.served_tier, found.status, found.count) == ("default", "", 502, None)
