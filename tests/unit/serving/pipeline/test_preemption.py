"""Batch that has not answered yet gives its slot to others who wait: the newest first, uncharged, and nothing of it is lost."""

from typing import Any

from penstock.domain.policy import Policy
from penstock.domain.ports import InflightRequest
from penstock.domain.principal import ServiceClass
from penstock.serving.pipeline.policy import apply
from penstock.serving.scheduling.counters import ShedReason
from tests.unit.serving.pipeline.pipeline_bench import MemoryReply, PipelineBench

BATCH, ENTERPRISE = ServiceClass.BATCH, ServiceClass.ENTERPRISE


def batch(bench: PipelineBench, **fields: Any) -> tuple[InflightRequest, MemoryReply]:
    return bench.ask(service_class=BATCH, **fields)


def test_the_newest_makes_room_and_is_done_later() -> None:
    bench = PipelineBench(a=2)
    (_, older), (_, newer) = batch(bench), batch(bench)
    _, urgent = bench.ask()
    assert [one.cancelled for one in bench.sent] == [False, True, False]
    bench.sent[1].answer("too late, nobody listens")
    bench.sent[2].answer("urgent")
    assert (urgent.status, b"urgent" in urgent.data, newer.over) == (200, True, False)
    assert len(bench.sent) == 4, "it has the slot back"
    for one in (bench.sent[0], bench.sent[3]):
        one.answer()
    assert (older.status, newer.status) == (200, 200)
    assert sorted(record.service_class for record in bench.journal.records) == ["batch", "batch", "enterprise"]
    assert {record.retries for record in bench.journal.records} == {0}, "it is no retry"
    (queue,) = bench.deps.queues.values()
    assert queue.class_counters[BATCH].preempted == 1
    assert bench.leaks() == {}


def test_batch_stream_that_has_started_is_not_preempted() -> None:
    bench = PipelineBench(a=1)
    _, stream = batch(bench, stream=True)
    bench.sent[0].begin_stream()
    bench.sent[0].token()
    bench.ask()
    assert not bench.sent[0].cancelled
    bench.sent[0].end_stream()
    bench.sent[1].answer()
    assert stream.terminal_events == 1
    assert bench.leaks() == {}


def test_batch_does_not_displace_batch_nor_others() -> None:
    bench = PipelineBench(a=1)
    batch(bench)
    batch(bench)
    assert not bench.sent[0].cancelled
    bench.sent[0].answer()
    bench.sent[1].answer()
    bench.ask()
    bench.ask()
    batch(bench)
    assert not any(one.cancelled for one in bench.sent)


def test_a_policy_may_forbid_it() -> None:
    bench = PipelineBench(a=1)
    apply(Policy(preempt_batch=False), bench.deps)
    batch(bench)
    bench.ask()
    assert not bench.sent[0].cancelled


def test_a_slot_that_would_be_of_no_use_is_left_alone() -> None:
    """The only batch request is at a worker of another pool."""
    bench = PipelineBench()
    bench.join("a", 1, pool="priority")
    bench.join("b", 1)
    batch(bench, service_tier="priority")
    bench.ask()
    bench.ask()
    assert [(one.worker_id, one.cancelled) for one in bench.sent] == [("a", False), ("b", False)]


def test_batch_request_is_preempted_at_most_three_times() -> None:
    bench = PipelineBench(a=1)
    _, patient = batch(bench)
    for _ in range(3):
        bench.ask()
        bench.sent[-1].answer()  # the urgent one, after which the slot is free for the other again
    _, urgent = bench.ask()
    assert [one.cancelled for one in bench.sent].count(True) == 3
    bench.sent[-1].answer("batch")
    assert (patient.status, b"batch" in patient.data, urgent.over) == (200, True, False)


def test_one_that_was_put_back_can_leave() -> None:
    bench = PipelineBench(a=1)
    flight, _ = batch(bench)
    bench.ask()
    flight.cancel()
    bench.sent[1].answer()
    assert len(bench.sent) == 2
    assert bench.leaks() == {}


def test_flex_without_an_idle_slot_is_counted_as_shed() -> None:
    bench = PipelineBench(a=1)
    bench.ask()
    _, flex = bench.ask(service_tier="flex")
    (queue,) = bench.deps.queues.values()
    assert (flex.status, queue.class_counters[ENTERPRISE].shed) == (429, {ShedReason.NO_IDLE_SLOT: 1})
