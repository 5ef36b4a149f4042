"""Every histogram has the same buckets, and each duration is in the first that is not below it."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.histogram import BOUNDS_SECONDS, Histogram, bucket_of


def test_bucket_holds_durations_up_to_its_bound() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS_SECONDS[0], BOUNDS_SECONDS[3], BOUNDS_SECONDS[3] * 1.01, 10_000.0):
        histogram.add(seconds)
    counts = dict(histogram.cumulative())
    assert counts[repr(BOUNDS_SECONDS[0])] == 2
    assert counts[repr(BOUNDS_SECONDS[3])] == 3
    assert counts[repr(BOUNDS_SECONDS[4])] == 4
    assert counts[repr(BOUNDS_SECONDS[-1])] == 4
    assert counts["+Inf"] == 5


def test_merged_histogram_has_the_counts_and_the_sum_of_both() -> None:
    first, second = Histogram(), Histogram()
    first.add(0.5)
    second.add(0.5)
    second.add(3.0)
    first.merge(second)
    assert (sum(first.counts), first.counts[bucket_of(0.5)], first.total_seconds) == (3, 2, 4.0)


@given(st.floats(0.0, 2000.0) | st.sampled_from(BOUNDS_SECONDS))
def test_bucket_of_a_duration_is_the_one_that_bisect_finds(seconds: float) -> None:
    assert bucket_of(seconds) == bisect_left(BOUNDS_SECONDS, seconds)
