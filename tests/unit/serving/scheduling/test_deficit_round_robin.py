"""Classes share by weight: against weighted fair queueing (Demers, Keshav, Shenker, 1989) as the oracle."""

from random import Random

import pytest

from penstock.domain.principal import ServiceClass
from penstock.serving.scheduling.deficit_round_robin import DeficitRoundRobin
from penstock.serving.scheduling.request_queue import RequestQueue
from penstock.serving.scheduling.rules import RULES, QueueRules
from tests.unit.serving.scheduling.entries import Entry, joined, serve
from tests.unit.serving.scheduling.fair_order import tokens_of, weighted_fair_order

PREMIUM, FREE = ServiceClass.PREMIUM, ServiceClass.FREE


@pytest.mark.parametrize("tokens", [1, 3, 100, 128, 640, 5000])
def test_quanta_of_512_and_128_give_four_fifths(tokens: int) -> None:
    weights = {**RULES.weights, PREMIUM: 512, FREE: 128}
    queue = RequestQueue(1000, rules=QueueRules(weights))
    entries = [Entry(number, PREMIUM if number % 2 else FREE, prompt_tokens=tokens, max_tokens=0) for number in range(800)]
    served = serve_one_by_one(queue, joined(queue, *entries), 320)
    wanted = sum(entry.service_class is PREMIUM for entry in weighted_fair_order(entries, weights)[:320])
    assert wanted == 256
    assert abs(sum(entry.service_class is PREMIUM for entry in served) - wanted) <= 3


@pytest.mark.parametrize("seed", range(5))
def test_with_requests_of_any_length_no_class_is_ever_far_from_its_share(seed: int) -> None:
    random, queue = Random(seed), RequestQueue(1000)
    longest = 4000
    entries = [Entry(n, random.choice(list(ServiceClass)[1:4]), prompt_tokens=random.randint(1, longest), max_tokens=0) for n in range(600)]
    served = serve_one_by_one(queue, joined(queue, *entries), 300)
    wanted = weighted_fair_order(entries, dict(RULES.weights))
    last = min(max(wanted.index(one) for one in entries if one.service_class is each) for each in {one.service_class for one in entries})
    for count in range(1, min(300, last)):
        for each in (ServiceClass.ENTERPRISE, PREMIUM, FREE):
            assert abs(tokens_of(served[:count], each) - tokens_of(wanted[:count], each)) <= 2 * longest


def serve_one_by_one(queue: RequestQueue, entries: list[Entry], count: int) -> list[Entry]:
    return [serve(queue, 1)[0] for _ in range(count)]


def test_class_with_an_empty_queue_accumulates_no_deficit() -> None:
    queue = RequestQueue(1000)
    joined(queue, *(Entry(number, PREMIUM) for number in range(400)), Entry(service_class=FREE))
    serve(queue, 300)
    assert queue.deficits[FREE] == 0
    joined(queue, *(Entry(number, FREE) for number in range(100)))
    assert sum(one.service_class is FREE for one in serve(queue, 50)) <= 11


def test_round_robin_choice_changes_no_deficit_until_the_cost_is_spent() -> None:
    turns = DeficitRoundRobin(RULES.weights)
    costs = [0, 0, 700, 30, 0]
    assert turns.choose(costs) == turns.choose(costs)
    assert turns.deficits == [0] * len(ServiceClass)
    turns.spend(turns.choose(costs), costs)
    assert all(deficit >= 0 for deficit in turns.deficits)
