"""Who is next in a queue, and which bucket of a histogram holds a time."""

import pytest

from penstock.domain.durable.queues import HISTOGRAM_BUCKETS, bucket, sort_key


@pytest.mark.parametrize(
    ("priority", "queue", "head_start"),
    [(0, "medium", 0), (5, "medium", 300), (6, "medium", 360), (5, "high", 900), (5, "low", -300), (5, "another", 300)],
)
def test_head_start_is_a_minute_for_a_priority_and_ten_for_a_queue(priority: int, queue: str, head_start: int) -> None:
    assert sort_key(10_000.5, priority, queue) == 10_000_500 - head_start * 1000


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, 0), (0.0009, 0), (0.001, 1), (0.0019, 1), (0.002, 2), (0.0041, 3), (1.0, 10), (1.1, 11), (1e12, HISTOGRAM_BUCKETS - 1)],
)
def test_bucket_doubles_from_a_millisecond_on(seconds: float, expected: int) -> None:
    assert bucket(seconds) == expected
