"""What every member of `penstock.storage.state` must do. A member that needs a server skips where there is none."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.clock import ManualClock
from penstock.domain.ports import Quotas
from penstock.storage.state import STATE

MEMBERS = STATE.names()
STEP = 1 / 64  # durations that a float holds exactly, so that the oracle below is exact too


def make(member: str, clock: ManualClock) -> Quotas:
    quotas: Quotas = STATE.member(member)(clock)
    return quotas


@pytest.fixture(params=MEMBERS)
def member(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def quotas(member: str, clock: ManualClock) -> Quotas:
    return make(member, clock)


def test_a_fresh_bucket_gives_its_whole_minute_at_once(quotas: Quotas, clock: ManualClock) -> None:
    bucket = quotas.bucket("org:a:requests", 60)
    assert [bucket.reserve(1, clock.monotonic()) for _ in range(60)] == [0.0] * 60
    assert bucket.reserve(1, clock.monotonic()) > 0


def test_units_come_back_continuously(quotas: Quotas, clock: ManualClock) -> None:
    bucket = quotas.bucket("a", 60)
    assert bucket.reserve(60, clock.monotonic()) == 0.0
    clock.advance(2.5)
    assert bucket.remaining(clock.monotonic()) == 2
    assert bucket.reserve(2, clock.monotonic()) == 0.0
    assert bucket.reserve(1, clock.monotonic()) == pytest.approx(0.5, abs=1e-3)


def test_a_refusal_takes_nothing(quotas: Quotas, clock: ManualClock) -> None:
    bucket = quotas.bucket("a", 10)
    bucket.reserve(8, clock.monotonic())
    assert bucket.reserve(5, clock.monotonic()) > 0
    assert bucket.remaining(clock.monotonic()) == 2


def test_more_than_the_limit_is_never_possible(quotas: Quotas, clock: ManualClock) -> None:
    bucket = quotas.bucket("a", 10)
    assert bucket.reserve(11, clock.monotonic()) == math.inf
    assert bucket.reserve(10, clock.monotonic()) == 0.0


def test_a_limit_of_zero_allows_nothing(quotas: Quotas, clock: ManualClock) -> None:
    bucket = quotas.bucket("a", 0)
    assert bucket.reserve(1, clock.monotonic()) == math.inf
    assert bucket.remaining(clock.monotonic()) == 0
    assert bucket.reset_seconds(clock.monotonic()) == 0.0


def test_reset_is_the_time_until_full(quotas: Quotas, clock: ManualClock) -> None:
    bucket = quotas.bucket("a", 600)
    assert bucket.reset_seconds(clock.monotonic()) == 0.0
    bucket.reserve(300, clock.monotonic())
    assert bucket.reset_seconds(clock.monotonic()) == pytest.approx(30)
    assert bucket.standing(clock.monotonic()) == (bucket.remaining(clock.monotonic()), bucket.reset_seconds(clock.monotonic()))
    clock.advance(30)
    assert bucket.reset_seconds(clock.monotonic()) == 0.0
    assert bucket.remaining(clock.monotonic()) == 600


def test_unused_units_come_back_exactly(quotas: Quotas, clock: ManualClock) -> None:
    bucket = quotas.bucket("a", 1000)
    bucket.reserve(800, clock.monotonic())
    bucket.settle(750)
    assert bucket.remaining(clock.monotonic()) == 950


def test_units_used_beyond_the_reservation_are_owed(quotas: Quotas, clock: ManualClock) -> None:
    bucket = quotas.bucket("a", 60)
    bucket.reserve(50, clock.monotonic())
    bucket.settle(-70)
    assert bucket.remaining(clock.monotonic()) == 0
    assert bucket.reserve(1, clock.monotonic()) == pytest.approx(61, abs=1e-3)
    assert bucket.reset_seconds(clock.monotonic()) == pytest.approx(120)


def test_a_bucket_is_never_more_than_full(quotas: Quotas, clock: ManualClock) -> None:
    bucket = quotas.bucket("a", 100)
    bucket.reserve(100, clock.monotonic())
    clock.advance(60)
    bucket.settle(100)
    assert bucket.remaining(clock.monotonic()) == 100
    assert bucket.reserve(100, clock.monotonic()) == 0.0
    assert bucket.reserve(1, clock.monotonic()) > 0


def test_an_older_reading_of_the_clock_changes_nothing(quotas: Quotas, clock: ManualClock) -> None:
    bucket = quotas.bucket("a", 60)
    now = clock.monotonic()
    bucket.reserve(60, now)
    assert bucket.reserve(1, now - 10) > 0
    assert bucket.remaining(now - 3600) == 0
    assert bucket.reserve(1, now) == pytest.approx(1, abs=1e-3)


def test_the_wall_clock_does_not_matter(quotas: Quotas, clock: ManualClock) -> None:
    bucket = quotas.bucket("a", 60)
    bucket.reserve(60, clock.monotonic())
    clock.set_back(-3600)
    assert bucket.reserve(1, clock.monotonic()) > 0


def test_the_same_name_is_the_same_bucket(quotas: Quotas, clock: ManualClock) -> None:
    quotas.bucket("a", 10).reserve(10, clock.monotonic())
    assert quotas.bucket("a", 10).reserve(1, clock.monotonic()) > 0
    assert quotas.bucket("b", 10).reserve(1, clock.monotonic()) == 0.0


def test_a_changed_limit_takes_effect(quotas: Quotas, clock: ManualClock) -> None:
    quotas.bucket("a", 100).reserve(60, clock.monotonic())
    raised = quotas.bucket("a", 1000)
    assert (raised.limit, raised.remaining(clock.monotonic())) == (1000, 940)
    lowered = quotas.bucket("a", 10)
    assert lowered.limit == 10
    assert 0 < lowered.reserve(10, clock.monotonic()) < 60.1


@dataclass(frozen=True)
class Call:
    wait_steps: int
    amount: int


calls = st.lists(st.builds(Call, st.integers(0, 64 * 90), st.integers(1, 1200)), min_size=1, max_size=60)


@given(limit=st.integers(1, 1000), calls=calls)
def test_no_stretch_of_time_gets_more_than_a_full_bucket_and_its_refill(limit: int, calls: list[Call]) -> None:
    for name in MEMBERS:
        clock = ManualClock(start=1024.0)
        bucket = make(name, clock).bucket("a", limit)
        taken: list[tuple[float, int]] = []
        for call in calls:
            clock.advance(call.wait_steps * STEP)
            if bucket.reserve(call.amount, clock.monotonic()) == 0.0:
                taken.append((clock.monotonic(), call.amount))
        for first, (start, _) in enumerate(taken):
            total = 0
            for end, amount in taken[first:]:
                total += amount
                assert total <= limit + limit * (end - start) / 60 + 1e-3


@given(limit=st.integers(1, 10**9), start=st.floats(0, 2e9), share=st.floats(0.01, 1), pause=st.floats(0, 59))
def test_the_wait_is_enough_and_not_too_long(limit: int, start: float, share: float, pause: float) -> None:
    for name in MEMBERS:
        clock = ManualClock(start)
        bucket = make(name, clock).bucket("a", limit)
        amount = max(1, int(limit * share))
        assert bucket.reserve(limit, clock.monotonic()) == 0.0
        clock.advance(pause)
        wait = bucket.reserve(amount, clock.monotonic())
        if wait == 0.0:
            continue
        assert wait <= 60 * amount / limit + 1e-3
        clock.advance(wait)
        assert bucket.reserve(amount, clock.monotonic()) == 0.0


@given(reservations=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=60), start=st.floats(0, 2e9))
def test_settling_is_exact_however_often(reservations: list[tuple[int, int]], start: float) -> None:
    """Reserve much, use less, many times over at one instant: what remains is the limit less what was used."""
    for name in MEMBERS:
        clock = ManualClock(start)
        bucket = make(name, clock).bucket("a", 1_000_000)
        used_in_all = 0
        for reserved, used in reservations:
            assert bucket.reserve(reserved, clock.monotonic()) == 0.0
            bucket.settle(reserved - used)
            used_in_all += used
        assert bucket.remaining(clock.monotonic()) == 1_000_000 - used_in_all


@pytest.mark.parametrize("limit", [7, 60, 40_000, 10**12])
def test_a_long_life_does_not_drift(member: str, limit: int) -> None:
    """At exactly the limit's rate every unit is admitted and not one more, after ten thousand seconds."""
    clock = ManualClock(start=1e6)
    bucket = make(member, clock).bucket("a", limit)
    assert bucket.reserve(limit, clock.monotonic()) == 0.0
    per_step = limit / 64
    admitted = 0.0
    for _ in range(20_000):
        clock.advance(0.5)
        while bucket.reserve(per_step, clock.monotonic()) == 0.0:
            admitted += per_step
    assert admitted == pytest.approx(limit * 20_000 * 0.5 / 60, abs=per_step + 1e-6)
