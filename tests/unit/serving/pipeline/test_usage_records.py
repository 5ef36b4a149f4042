"""What the ledger is told of one request: its cost at the tier and the class that served it, and its times."""

from typing import Any

import pytest

from penstock.catalog.models import Catalogue
from penstock.domain.models import ModelRecord, Price
from penstock.domain.principal import ServiceClass
from penstock.domain.usage import Outcome, UsageRecord
from tests.unit.serving.pipeline.pipeline_bench import PipelineBench

# 1,000 micro-units for a prompt token, 10,000 for a completion token, 400 for a cached one.
PRICE = Price(10**9, 400 * 10**6, 10**10, priority_percent=150, flex_percent=40, batch_percent=30)
ANSWERED = 3 * 1_000 + 2 * 10_000
"""The default tier's price of what `SentRequest.answer` reports: three tokens in, two out."""


def priced(**slots: int) -> PipelineBench:
    bench = PipelineBench(0.0, None, **slots)
    bench.deps.adopt(Catalogue([ModelRecord("m", PRICE)]))
    return bench


def answered(bench: PipelineBench, **request: Any) -> UsageRecord:
    bench.ask(**request)
    bench.sent[-1].answer()
    return bench.journal.records[-1]


@pytest.mark.parametrize(
    ("tier", "percent"), [("default", 100), ("priority", 150), ("flex", 40), ("scale", 100)], ids=["default", "priority", "flex", "scale"]
)
def test_request_is_billed_at_the_percentage_of_the_tier_that_served_it(tier: str, percent: int) -> None:
    record = answered(priced(a=4), service_tier=tier)
    assert (record.service_tier, record.cost_micros) == (tier, ANSWERED * percent // 100)


@pytest.mark.parametrize("tier", ["default", "priority", "flex"])
def test_request_of_the_class_batch_is_billed_at_the_batch_percentage_at_every_tier(tier: str) -> None:
    record = answered(priced(a=4), service_tier=tier, service_class=ServiceClass.BATCH)
    assert (record.service_class, record.service_tier, record.cost_micros) == ("batch", tier, ANSWERED * 30 // 100)


def test_request_of_another_class_is_billed_without_the_batch_discount() -> None:
    record = answered(priced(a=4), service_class=ServiceClass.FREE)
    assert (record.service_class, record.cost_micros) == ("free", ANSWERED)


def test_stream_is_recorded_with_its_queueing_time_and_its_time_to_first_token() -> None:
    """Queued for 1.5 s, first token 0.25 s after dispatch, end 0.5 s later; every time is the manual clock's."""
    bench = priced(a=1)
    bench.ask()
    arrived = bench.clock.time()
    bench.ask(stream=True)
    bench.clock.advance(1.5)
    bench.sent[0].answer()
    stream = bench.sent[1]
    stream.begin_stream()
    bench.clock.advance(0.25)
    stream.token()
    bench.clock.advance(0.125)
    stream.token()
    bench.clock.advance(0.375)
    stream.end_stream()
    record = bench.journal.records[1]
    assert (record.queue_ms, record.ttft_ms) == (1500.0, 1750.0)
    assert (record.started_at, record.finished_at) == (arrived, arrived + 2.25)


def test_request_that_finds_a_free_slot_is_recorded_without_queueing_time() -> None:
    bench = priced(a=1)
    bench.ask()
    bench.clock.advance(0.25)
    bench.sent[0].answer()
    record = bench.journal.records[0]
    assert (record.queue_ms, record.ttft_ms) == (0.0, 250.0)


def test_stream_that_ends_before_its_first_token_is_recorded_without_time_to_first_token() -> None:
    bench = priced(a=1)
    bench.ask(stream=True)
    bench.sent[0].begin_stream()
    bench.clock.advance(1.0)
    bench.sent[0].end_stream()
    assert bench.journal.records[0].ttft_ms == 0.0


def test_slot_of_a_running_stream_names_the_tier_and_the_class_that_a_recovery_bills() -> None:
    """After a crash nothing else is left of the request: what the slot was filled with decides its cost."""
    bench = priced(a=4)
    bench.ask(stream=True, service_tier="priority", service_class=ServiceClass.BATCH)
    bench.sent[0].begin_stream()
    bench.sent[0].token()
    record = bench.journal.slots[0].record
    assert (record.outcome, record.model, record.service_tier, record.service_class) == (Outcome.RECOVERED, "m", "priority", "batch")
    assert (record.org_id, record.key_id, record.worker_id, record.request_id) == ("org", "key", "a", "req_1")


def test_request_is_recorded_under_its_own_names_with_its_status_and_retries() -> None:
    bench = priced(a=1, b=1)
    bench.ask()
    bench.sent[0].fail()
    bench.sent[1].answer()
    record = bench.journal.records[0]
    assert (record.request_id, record.org_id, record.key_id, record.model, record.operation) == ("req_1", "org", "key", "m", "chat")
    assert (record.service_tier, record.service_class, record.worker_id) == ("default", "enterprise", bench.sent[1].worker_id)
    assert (record.outcome, record.status, record.retries, record.client_request_id) == (Outcome.COMPLETED, 200, 1, "")
