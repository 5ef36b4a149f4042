"""A bucket by hand: 60 units a minute come back one a second; 600 a minute ten a second. Times are seconds of a clock of the test's own."""

import math

import pytest

from penstock.domain.bucket import Bucket

START = 1_000.0


def bucket(limit: int = 60, used: float = 0.0) -> Bucket:
    made = Bucket(limit, START)
    assert made.reserve(used, START) == 0.0
    return made


def test_new_bucket_is_full_and_not_forgotten() -> None:
    made = bucket()
    assert (made.limit, made.remaining(START), made.reset_seconds(START), made.standing(START)) == (60, 60, 0.0, (60, 0.0))
    assert made.forgotten is False


def test_amount_equal_to_the_rest_is_taken() -> None:
    made = bucket(used=50)
    assert made.reserve(10, START) == 0.0
    assert made.remaining(START) == 0


def test_amount_that_is_not_left_takes_nothing_and_tells_the_wait() -> None:
    made = bucket(used=55)
    assert made.reserve(10, START) == pytest.approx(5.0, abs=1e-5)
    assert made.remaining(START) == 5
    assert made.reserve(10, START) > 5.0, "a clock of coarse resolution has certainly passed it"


def test_amount_above_the_limit_is_never_possible() -> None:
    made = bucket()
    assert made.reserve(61, START) == math.inf
    assert made.reserve(60, START) == 0.0


def test_units_come_back_with_time() -> None:
    made = bucket(used=60)
    assert made.reserve(0.5, START + 0.5) == 0.0
    assert made.reserve(1, START + 0.9) > 0.0
    assert [made.remaining(START + seconds) for seconds in (0.4, 1.0, 2.5, 60.0, 61.0)] == [0, 0, 2, 59, 60]


def test_units_never_come_back_beyond_the_limit() -> None:
    made = bucket(used=3)
    assert made.reserve(60, START + 3_600.0) == 0.0
    assert made.remaining(START + 3_600.0) == 0


def test_units_that_came_back_in_half_a_second_count() -> None:
    """Fractions of a second are time, too."""
    made = bucket(limit=600, used=600)
    later = START + 0.5
    assert (made.remaining(later), made.reset_seconds(later), made.standing(later)) == (5, 59.5, (5, 59.5))


@pytest.mark.parametrize("earlier", [0.0, 0.5, 30.0])
def test_older_reading_of_the_clock_takes_no_time_back(earlier: float) -> None:
    made = bucket(used=30)
    made.reserve(0, START + 10.0)
    then = START + 10.0 - earlier
    assert (made.remaining(then), made.reset_seconds(then), made.standing(then)) == (40, 20.0, (40, 20.0))
    assert made.reserve(40, then) == 0.0


def test_unused_units_are_given_back_and_never_more_than_the_limit() -> None:
    made = bucket(used=50)
    made.settle(20)
    assert made.remaining(START) == 30
    made.settle(1_000)
    assert (made.remaining(START), made.reserve(61, START)) == (60, math.inf)


def test_units_used_beyond_the_reserved_ones_are_taken() -> None:
    made = bucket(used=50)
    made.settle(-40)
    assert (made.remaining(START), made.reset_seconds(START), made.standing(START)) == (0, 90.0, (0, 90.0))
    assert made.reserve(1, START) == pytest.approx(31.0, abs=1e-5)


def test_debt_is_bounded_to_minutes() -> None:
    made = bucket(used=50)
    made.settle(-(2**31))
    assert made.reset_seconds(START) == 180.0
    made.settle(-(2**31))
    assert made.reset_seconds(START) == 180.0
    assert made.reserve(1, START) == pytest.approx(121.0, abs=1e-5)
    made.settle(150)
    assert made.remaining(START) == 30


def test_debt_under_an_older_higher_limit_is_not_forgiven_by_using_more() -> None:
    made = bucket(used=60)
    made.settle(-60)
    made.limit = 6
    made.settle(-1)
    assert made._level == 120.0


def test_remaining_and_reset_are_told_together_as_apart() -> None:
    made = bucket(used=20)
    for later in (0.0, 0.25, 5.0, 19.0, 20.0, 100.0):
        now = START + later
        assert made.standing(now) == (made.remaining(now), made.reset_seconds(now))
    assert made.standing(START + 5.0) == (45, 15.0)


def test_rounding_error_of_a_level_counts_as_full() -> None:
    made = bucket(used=1e-7)
    assert (made.remaining(START), made.reset_seconds(START), made.standing(START)) == (60, 0.0, (60, 0.0))


def test_tenth_of_a_unit_is_not_full() -> None:
    made = bucket(used=0.1)
    left, seconds = made.standing(START)
    assert (left, seconds == made.reset_seconds(START)) == (59, True)
    assert seconds == pytest.approx(0.1)


def test_limit_of_zero_refuses_everything_and_divides_by_nothing() -> None:
    made = bucket(limit=0)
    made.settle(-5)  # units that were used all the same
    assert (made.reserve(1, START), made.reset_seconds(START), made.standing(START)) == (math.inf, 0.0, (0, 0.0))
    assert made.remaining(START) == 0


def test_negative_limit_is_a_limit_of_zero() -> None:
    assert Bucket(-5, START).limit == 0


def test_lower_limit_makes_no_caller_wait_longer_than_a_minute() -> None:
    made = bucket(used=60)
    made.resize(6)
    assert (made.limit, made.remaining(START), made.reset_seconds(START)) == (6, 0, 60.0)
    made.resize(60)
    assert made.remaining(START) == 54


def test_higher_limit_keeps_the_amount_used() -> None:
    made = bucket(used=30)
    made.resize(600)
    assert (made.remaining(START), made.reset_seconds(START)) == (570, 3.0)


@pytest.mark.parametrize(
    ("used", "after", "idle"), [(0, 59.9, False), (0, 60.0, True), (1, 60.0, True), (60, 60.0, True), (60, 59.0, False)]
)
def test_bucket_is_idle_when_full_and_untouched_for_a_minute(used: int, after: float, idle: bool) -> None:
    assert bucket(used=used).idle(START + after) is idle


def test_bucket_that_owes_more_than_a_minute_is_not_idle_after_one() -> None:
    made = bucket(used=60)
    made.settle(-30)
    assert (made.idle(START + 60.0), made.idle(START + 90.0)) == (False, True)
