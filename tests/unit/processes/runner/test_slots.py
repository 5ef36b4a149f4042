"""How much a runner asks for."""

import pytest

from penstock.processes.runner.slots import SlotPlan, TaskSlots


def slots(number: int = 4, max_prefetched: int = 100) -> TaskSlots:
    return TaskSlots(SlotPlan(("function",), (), number, max_prefetched))


def test_nothing_is_fetched_ahead_of_tasks_that_take_long() -> None:
    group = slots()
    assert (group.prefetch, group.wanted) == (0, 4)
    group.running = 4
    assert group.wanted == 0
    assert not group.has_free_slot


@pytest.mark.parametrize(("seconds", "prefetch"), [(0.01, 40), (0.001, 100), (1.0, 0), (0.0, 100)])
def test_short_tasks_are_fetched_for_a_tenth_of_a_second(seconds: float, prefetch: int) -> None:
    group = slots()
    for _ in range(200):
        group.record_duration(seconds)
    assert group.prefetch == pytest.approx(prefetch, abs=1)


def test_claim_waits_until_enough_slots_are_free() -> None:
    group = slots()
    for _ in range(200):
        group.record_duration(0.01)
    group.running, group.waiting = 4, 30
    assert group.wanted == 0, "ten free places of forty"
    group.waiting = 15
    assert group.wanted == pytest.approx(25, abs=1)
    group.running = 3
    assert group.wanted > 0, "an idle slot is always worth a call"
