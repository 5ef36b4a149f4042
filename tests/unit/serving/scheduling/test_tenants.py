"""Tenants inside a class share by what they were served, and a noisy one harms nobody."""

import heapq
from itertools import count
from random import Random

import pytest

from penstock.domain.errors import PenstockError
from penstock.domain.principal import ServiceClass
from penstock.serving.scheduling.request_queue import RequestQueue
from penstock.serving.scheduling.tenants import service
from tests.unit.serving.scheduling.entries import STANDARD, Entry, joined, serve

FREE = ServiceClass.FREE


@pytest.mark.parametrize("seed", range(5))
def test_backlogged_tenants_are_served_alike(seed: int) -> None:
    """One sends long prompts, one wants long answers, one says a limit that it never uses, one is just many."""
    random, queue, slots = Random(seed), RequestQueue(1000), 8
    habits = {"prompts": (1000, 20, 20), "answers": (20, 500, 500), "boasts": (100, 500, 50), "many": (10, 10, 10)}
    served = dict.fromkeys(habits, 0)
    running: list[Entry] = []
    waiting = dict.fromkeys(habits, 0)
    for _ in range(6000):
        for name, (prompt, limit, _) in habits.items():
            for _ in range(20 - waiting[name]):
                joined(queue, Entry(org_id=name, prompt_tokens=random.randint(prompt // 2, prompt), max_tokens=limit))
            waiting[name] = 20
        if len(running) == slots:
            over = running.pop(random.randrange(slots))
            answered = random.randint(1, habits[over.org_id][2])
            queue.settle_debt(over, over.prompt_tokens, answered)
            served[over.org_id] += service(over.prompt_tokens, answered)
        for entry in serve(queue, slots - len(running)):
            running.append(entry)
            waiting[entry.org_id] -= 1
        bound = 2 * max(1 * 1000, 2 * slots * 500)
        assert max(served.values()) - min(served.values()) <= bound
    shares = list(served.values())
    assert sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares)) >= 0.99


def test_who_comes_back_has_saved_nothing_up() -> None:
    queue = RequestQueue(1000)
    joined(queue, Entry(org_id="returns"), *(Entry(number, org_id="stays") for number in range(300)))
    assert "returns" in {entry.org_id for entry in serve(queue, 200)}
    joined(queue, *(Entry(number, org_id="returns") for number in range(100)))
    assert 19 <= sum(entry.org_id == "returns" for entry in serve(queue, 40)) <= 21


def test_who_comes_and_goes_is_not_ahead_of_who_stays() -> None:
    """Its counter is remembered until the others have caught up."""
    queue = RequestQueue(1000)
    joined(queue, *(Entry(number, org_id=f"stays {number % 3}") for number in range(240)))
    (comer,) = joined(queue, Entry(org_id="comes"))
    came = 1
    for _ in range(120):
        (entry,) = serve(queue, 1)
        queue.settle_debt(entry, entry.prompt_tokens, entry.max_tokens)
        if entry is comer:
            (comer,) = joined(queue, Entry(org_id="comes"))
            came += 1
    assert 28 <= came <= 32, "a fourth, as one of four tenants"


class Rush:
    """Slots that are busy for a second with each thousand tokens, on a clock that jumps from event to event."""

    def __init__(self, slots: int) -> None:
        self.queue, self.free, self.now = RequestQueue(1000), slots, 0.0
        self.seconds: dict[str, list[float]] = {}
        self.refused: dict[str, int] = {}
        self._ends = count(1_000_000).__next__

    def run(self, arrivals: list[tuple[float, str, int]]) -> None:
        entries = [Entry(0, FREE, STANDARD, when, when + 20.0, org_id, max_tokens=tokens) for when, org_id, tokens in arrivals]
        events: list[tuple[float, int, Entry | None]] = [(entry.queued_at, number, entry) for number, entry in enumerate(entries)]
        heapq.heapify(events)
        while events:
            self.now, _, entry = heapq.heappop(events)
            if entry is None:
                self.free += 1
            else:
                self._come(entry)
            for late in self.queue.drop_expired(self.now):
                self._count(late.org_id)
            for one in serve(self.queue, self.free, self.now):
                self.free -= 1
                end = self.now + one.max_tokens / 1000
                self.seconds.setdefault(one.org_id, []).append(end - one.queued_at)
                self.queue.settle_debt(one, one.prompt_tokens, one.max_tokens)
                heapq.heappush(events, (end, self._ends(), None))
        for entry in entries:
            if entry.error is not None:
                self._count(entry.org_id)

    def _come(self, entry: Entry) -> None:
        try:
            self.queue.enqueue(entry, self.now)
        except PenstockError:
            self._count(entry.org_id)

    def _count(self, org_id: str) -> None:
        self.refused[org_id] = self.refused.get(org_id, 0) + 1


@pytest.mark.parametrize("seed", range(3))
def test_noisy_tenant_neither_delays_nor_refuses_other_tenants(seed: int) -> None:
    """Fifty times its share, with every slot busy: the others' slowest hundredth takes at most 1.2 times as long, and none is refused."""
    random = Random(seed)
    quiet = [(random.uniform(0.0, 90.0), f"quiet {number % 8}", random.randint(500, 1500)) for number in range(90 * 24)]
    noisy = [(random.uniform(0.0, 90.0), "noisy", random.randint(500, 1500)) for _ in range(90 * 3 * 50)]
    alone, together = Rush(slots=40), Rush(slots=40)
    alone.run(quiet)
    together.run(quiet + noisy)
    assert {name for name, count in together.refused.items() if count} == {"noisy"}
    assert slowest_hundredth(together) <= 1.2 * slowest_hundredth(alone)
    assert len(together.seconds["noisy"]) >= 90 * (40 - 24) - 40, "and it gets what the others leave"


def slowest_hundredth(rush: Rush) -> float:
    """Seconds from arrival to end, over the quiet tenants."""
    times = sorted(seconds for name, of_tenant in rush.seconds.items() if name != "noisy" for seconds in of_tenant)
    return times[len(times) * 99 // 100]
