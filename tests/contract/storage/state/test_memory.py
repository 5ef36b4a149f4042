"""What only the memory member promises: that it does not grow with every name it ever heard."""

import pytest

from penstock.domain.clock import ManualClock
from penstock.storage.state.memory import MemoryQuotas


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_idle_buckets_leave_as_new_ones_come(clock: ManualClock) -> None:
    quotas = MemoryQuotas(clock)
    for number in range(10_000):
        quotas.bucket(f"key:{number}", 60).reserve(1, clock.monotonic())
        clock.advance(1)
    assert len(quotas) < 100


def test_a_bucket_in_use_stays(clock: ManualClock) -> None:
    quotas = MemoryQuotas(clock)
    kept = quotas.bucket("kept", 60)
    for number in range(1000):
        kept.reserve(1, clock.monotonic())
        quotas.bucket(f"key:{number}", 60)
        clock.advance(1)
        assert quotas.bucket("kept", 60) is kept


def test_a_debt_is_not_forgotten(clock: ManualClock) -> None:
    quotas = MemoryQuotas(clock)
    owed = quotas.bucket("owed", 60)
    owed.reserve(60, clock.monotonic())
    owed.settle(-600)
    for number in range(300):
        clock.advance(0.2)
        quotas.bucket(f"key:{number}", 60)
    assert quotas.bucket("owed", 60).remaining(clock.monotonic()) == 0


def test_a_burst_of_names_goes_again(clock: ManualClock) -> None:
    quotas = MemoryQuotas(clock)
    for number in range(1000):
        quotas.bucket(f"burst:{number}", 60).reserve(60, clock.monotonic())
    assert len(quotas) == 1000
    clock.advance(61)
    for number in range(1000):
        quotas.bucket(f"key:{number}", 60).reserve(1, clock.monotonic())
        clock.advance(0.01)
    assert len(quotas) <= 1001
    assert quotas.bucket("burst:0", 60).remaining(clock.monotonic()) == 60
