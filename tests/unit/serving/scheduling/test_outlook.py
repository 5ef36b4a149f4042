"""How long one waits while others come: against the definition, and against a simulation by small steps."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.principal import ServiceClass
from penstock.serving.scheduling.outlook import Rival, wait
from penstock.serving.scheduling.request_queue import RequestQueue
from tests.unit.serving.scheduling.entries import PRIORITY, STANDARD, Entry, offer

NEVER = float("inf")
AMOUNTS = st.floats(0.0, 1e5)
RATES = st.floats(0.0, 1e4)


def rival(share: float, waiting: float, rate: float) -> Rival:
    waiting = min(share, waiting)
    return ((share - waiting) / rate if rate else NEVER, share, waiting, rate)


def gone_before(ahead: float, seconds: float, rivals: Sequence[Rival]) -> float:
    return ahead + sum(min(share, waiting + rate * seconds) for _, share, waiting, rate in rivals)


@given(ahead=st.floats(1.0, 1e5), pace=st.floats(1.0, 1e4), rivals=st.lists(st.builds(rival, AMOUNTS, AMOUNTS, RATES), max_size=4))
def test_it_ends_when_all_that_goes_before_has_gone(ahead: float, pace: float, rivals: list[Rival]) -> None:
    found = wait(ahead, pace, sorted(rivals))
    assert found * pace == pytest.approx(gone_before(ahead, found, rivals), rel=1e-3)
    assert (found * 0.9) * pace < gone_before(ahead, found * 0.9, rivals) * (1 + 1e-6), "and not before"


def test_others_that_come_nearly_as_fast_as_all_go_make_it_long() -> None:
    """A rough reckoning falls short here by the more, the nearer the two are."""
    assert wait(40.0, 28.0, [rival(1e6, 0.0, 24.0)]) == pytest.approx(10.0)
    assert wait(40.0, 28.0, [rival(160.0, 0.0, 24.0)]) == pytest.approx(200.0 / 28.0), "its share is all that it gets"


def test_a_few_that_came_at_once_are_no_stream_for_the_next_minutes() -> None:
    """As after a cold start: a long line, a pace that is only just known, and two requests of another class in half a second."""
    queue = RequestQueue(1000)
    queue.enqueue(Entry(0, ServiceClass.ENTERPRISE, queued_at=0.0, give_up_at=1e6), 0.0)
    for number in range(60):
        queue.enqueue(Entry(number, ServiceClass.FREE, queued_at=0.0, give_up_at=1e6), 0.0)
    served = iter(range(20))
    for second in range(1, 11):
        offer(queue, float(second), lambda entry: next(served, 99) < 2 * second)  # noqa: B023
    before = queue.expected_wait(10.0, Entry(61, ServiceClass.FREE, give_up_at=2e6))
    for number in range(2):
        queue.enqueue(Entry(number, ServiceClass.ENTERPRISE, queued_at=10.0, give_up_at=1e6), 10.0)
    assert before < queue.expected_wait(10.0, Entry(61, ServiceClass.FREE, give_up_at=2e6)) < 2 * before


def test_expected_wait_includes_a_class_that_is_served_at_once() -> None:
    """It takes most of the slots from those that do."""
    queue = RequestQueue(1000)
    for number in range(60):
        now = number * 0.1
        for service_class, pools in ((ServiceClass.ENTERPRISE, PRIORITY), (ServiceClass.PREMIUM, STANDARD)):
            queue.enqueue(Entry(number, service_class, pools, queued_at=now, give_up_at=1e6), now)
        offer(queue, now, lambda entry: entry.service_class is ServiceClass.ENTERPRISE)
    assert queue.waiting(ServiceClass.ENTERPRISE) == 0
    alone = queue.expected_wait(6.0)
    assert queue.expected_wait(6.0, Entry(60, ServiceClass.PREMIUM, give_up_at=2e6)) > 2 * alone
