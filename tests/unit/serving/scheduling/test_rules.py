"""What policy may change while requests wait: weights of classes and of tenants, bounds, patience, shedding."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from penstock.domain.errors import DeadlineExceeded, RateLimited
from penstock.domain.policy import Shedding
from penstock.domain.principal import ServiceClass
from penstock.serving.scheduling.counters import ShedReason
from penstock.serving.scheduling.request_queue import RequestQueue
from penstock.serving.scheduling.rules import RULES, QueueRules
from tests.unit.serving.scheduling.entries import Entry, joined, serve
from tests.unit.serving.scheduling.fair_order import cost, tokens_of, weighted_fair_order

ENTERPRISE, PREMIUM, FREE, BATCH = ServiceClass.ENTERPRISE, ServiceClass.PREMIUM, ServiceClass.FREE, ServiceClass.BATCH


@pytest.mark.parametrize("seed", range(10))
def test_weights_that_change_divide_what_comes_after(seed: int) -> None:
    """Each phase is what weighted fair queueing makes of those that are left, with requests of any length."""
    random, longest = Random(seed), 2000
    queue = RequestQueue(10_000, rules=replace(RULES, bounds=dict.fromkeys(ServiceClass, 10_000)))
    left = [
        Entry(n, random.choice([ENTERPRISE, PREMIUM, FREE]), prompt_tokens=random.randint(1, longest), max_tokens=0) for n in range(3000)
    ]
    joined(queue, *left)
    for _ in range(4):
        weights = {**RULES.weights, **{each: random.choice([1, 3, 32, 128, 500, 999]) for each in (ENTERPRISE, PREMIUM, FREE)}}
        queue.adopt(replace(queue.rules, weights=weights))
        wanted = weighted_fair_order(left, weights)
        served = [serve(queue, 1)[0] for _ in range(150)]
        for count in range(1, len(served) + 1):
            for each in (ENTERPRISE, PREMIUM, FREE):
                # What a class was granted before is its own: one request more than without a change.
                assert abs(tokens_of(served[:count], each) - tokens_of(wanted[:count], each)) <= 3 * longest
        left = [entry for entry in left if entry not in served]
    assert len(queue) == len(left)


@pytest.mark.parametrize("seed", range(3))
def test_tenants_share_by_weight(seed: int) -> None:
    random, slots = Random(seed), 8
    weights = {"double": 2.0, "half": 0.5}
    queue = RequestQueue(1000, rules=QueueRules(tenant_weights=weights))
    served: Counter[str] = Counter()
    running: list[Entry] = []
    waiting: Counter[str] = Counter()
    for _ in range(6000):
        for name in ("double", "half", "plain"):
            for _ in range(10 - waiting[name]):
                joined(queue, Entry(org_id=name, prompt_tokens=random.randint(1, 500), max_tokens=200))
            waiting[name] = 10
        if len(running) == slots:
            over = running.pop(random.randrange(slots))
            answered = random.randint(1, 200)
            queue.settle_debt(over, over.prompt_tokens, answered)
            served[over.org_id] += over.prompt_tokens + 2 * answered
        for entry in serve(queue, slots - len(running)):
            running.append(entry)
            waiting[entry.org_id] -= 1
    assert served["double"] / served["plain"] == pytest.approx(2.0, rel=0.02)
    assert served["half"] / served["plain"] == pytest.approx(0.5, rel=0.02)


def test_output_is_charged_as_it_comes() -> None:
    queue = RequestQueue(10)
    entry, _ = joined(queue, Entry(prompt_tokens=100, max_tokens=1000), Entry())
    serve(queue, 1)
    seen = [queue.counters(FREE)["org"]]
    assert entry.debt is not None
    for tokens in (10, 40, 41, 90):
        if tokens >= entry.debt.due:
            entry.debt.grow(tokens)
        seen.append(queue.counters(FREE)["org"])
    assert seen == [100, 100, 180, 180, 280], "in steps of 32 tokens, at two for one of the prompt"
    queue.settle_debt(entry, 90, 95)
    assert queue.counters(FREE)["org"] == 90 + 190


def test_tokens_of_a_running_stream_are_charged_before_it_ends() -> None:
    queue = RequestQueue(100)
    joined(queue, *(Entry(number, org_id="long") for number in range(3)))
    (first,) = serve(queue, 1)
    joined(queue, *(Entry(number, org_id="short") for number in range(5)))
    assert first.debt is not None
    first.debt.grow(300)
    assert [entry.org_id for entry in serve(queue, 5)] == ["short"] * 5


def test_cached_prompt_tokens_are_not_charged_to_the_class() -> None:
    queue = RequestQueue(100)
    joined(queue, *(Entry(number, PREMIUM, prompt_tokens=1000, cached_tokens=900, max_tokens=0) for number in range(50)))
    joined(queue, *(Entry(number, FREE, prompt_tokens=100, max_tokens=0) for number in range(50)))
    classes = [entry.service_class for entry in serve(queue, 40)]
    assert classes.count(FREE) == pytest.approx(8, abs=1), "four to one by weight, at the same cost"


def test_batch_is_shed_at_random_before_the_line_is_full() -> None:
    draws = iter([0.09, 0.10, 0.0])
    queue = RequestQueue(1000, rules=replace(RULES, bounds=dict.fromkeys(ServiceClass, 100)), chance=lambda: next(draws))
    joined(queue, *(Entry(number) for number in range(20)))
    assert queue.rules.batch_shed_probability(0.2) == pytest.approx(0.096)
    with pytest.raises(RateLimited) as refused:
        queue.enqueue(Entry(service_class=BATCH), 0.0)
    assert refused.value.retry_after_seconds
    queue.enqueue(Entry(service_class=BATCH), 0.0)
    queue.adopt(replace(queue.rules, shedding=Shedding(batch_factor=0.0)))
    queue.enqueue(Entry(service_class=BATCH), 0.0)
    assert (queue.waiting(BATCH), queue.class_counters[BATCH].shed) == (2, {ShedReason.SATURATED: 1})
    queue.enqueue(Entry(service_class=FREE), 0.0)  # draws nothing: only batch is shed so


@pytest.mark.parametrize(("saturation", "probability"), [(0.0, 0.0), (0.1, 0.003), (0.2, 0.096), (0.31996, 1.0), (0.5, 1.0), (1.0, 1.0)])
def test_the_curve_of_shedding(saturation: float, probability: float) -> None:
    assert RULES.batch_shed_probability(saturation) == pytest.approx(probability, abs=0.01)


def test_a_smaller_bound_refuses_who_comes_and_keeps_who_waits() -> None:
    queue = RequestQueue(100)
    joined(queue, *(Entry(number) for number in range(10)))
    queue.adopt(replace(RULES, bounds=dict.fromkeys(ServiceClass, 5)))
    with pytest.raises(RateLimited):
        queue.enqueue(Entry(), 0.0)
    assert len(serve(queue, 20)) == 10


def test_patience_holds_for_who_comes_next() -> None:
    queue = RequestQueue(100)
    (old,) = joined(queue, Entry(0, FREE, give_up_at=1e9))
    queue.adopt(replace(RULES, patience_seconds=dict.fromkeys(ServiceClass, 1.0)))
    (eager,) = joined(queue, Entry(1, BATCH, give_up_at=1e9, max_tokens=10**6))
    joined(queue, *(Entry(number, ENTERPRISE, queued_at=2.0) for number in range(5)))
    assert serve(queue, 1, 2.0) == [eager]
    assert old not in serve(queue, 3, 2.0)


def test_the_time_to_read_the_prompt_counts_against_the_deadline() -> None:
    queue = RequestQueue(100, prefill_seconds=lambda tokens: tokens / 100)
    joined(queue, *(Entry(number, give_up_at=50.0) for number in range(20)))
    for second in range(10):
        serve(queue, 1, float(second))
    queue.enqueue(Entry(org_id="b", give_up_at=12.0, prompt_tokens=100), 9.0)
    with pytest.raises(DeadlineExceeded):
        queue.enqueue(Entry(org_id="c", give_up_at=12.0, prompt_tokens=400), 9.0)
    queue.enqueue(Entry(org_id="d", give_up_at=12.0, prompt_tokens=400, cached_tokens=300), 9.0)
    assert queue.class_counters[FREE].shed == {ShedReason.DEADLINE: 1}


def test_who_is_put_back_is_not_refused_and_owes_nothing() -> None:
    queue = RequestQueue(2)
    (running,) = joined(queue, Entry(1))
    serve(queue, 1)
    joined(queue, Entry(2), Entry(3))
    queue.requeue(running)
    assert (len(queue), running.debt, queue.class_counters[FREE].preempted) == (3, None, 1)
    assert set(serve(queue, 9)) >= {running}


def test_each_way_out_is_counted() -> None:
    queue = RequestQueue(2)
    first, noisy = joined(queue, Entry(1, org_id="noisy"), Entry(2, org_id="noisy"))
    joined(queue, Entry(3, org_id="quiet", give_up_at=4.0))
    with pytest.raises(RateLimited):
        queue.enqueue(Entry(4, org_id="noisy"), 0.0)
    assert noisy.error is not None
    assert serve(queue, 1, 3.0) in ([first], [])
    queue.drop_expired(5.0)
    queue.enqueue(Entry(5), 6.0)
    queue.drain()
    counters = queue.class_counters[FREE]
    assert counters.shed == {
        ShedReason.DISPLACED: 1,
        ShedReason.FULL: 1,
        ShedReason.EXPIRED: 1,
        ShedReason.STOPPING: counters.shed[ShedReason.STOPPING],
    }
    assert (sum(counters.waits.counts), counters.waits.total_seconds) == (1, 3.0)
    assert cost(first) == 128
