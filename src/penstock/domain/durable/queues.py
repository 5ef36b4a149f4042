"""Queues: who is next in them, what an operator says about them, what happened in them."""

import math
from dataclasses import dataclass

import msgspec

PRIORITY_HEAD_START_SECONDS = 60.0
"""What one step of priority is worth: a task of priority 6 goes before one of priority 5 that has waited up to a minute longer."""
QUEUE_HEAD_START_SECONDS = {"high": 600.0, "medium": 0.0, "low": -600.0}
"""What the name of a queue is worth beside the others of its organisation; any other name is worth nothing."""
DEFAULT_QUEUE = "medium"


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What an operator says about a queue of an organisation."""

    paused: bool = False
    """Nothing new is started; what runs goes on."""
    max_running: int | None = None
    """Counted over all runners."""
    rate_per_second: float | None = None
    """Starts a second over all runners, with bursts of one second."""


@dataclass(frozen=True, slots=True)
class QueueState:
    name: str
    limits: QueueLimits
    blocked: int
    scheduled: int
    ready: int
    running: int
    oldest_ready_at: float | None
    """Since when the task that has waited longest is ready."""


HISTOGRAM_BUCKETS = 28
"""Bucket b holds times below 0.001 s x 2^b, the last one all others."""


class MinuteStats(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a queue of an organisation in one minute."""

    org_id: str
    queue: str
    minute: int
    """Whole minutes since the Unix epoch, by the time of the end."""
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0
    retried: int = 0
    waits: tuple[int, ...] = ()
    """Histogram of ready -> started, of attempts that ended in this minute."""
    runs: tuple[int, ...] = ()
    """Histogram of started -> ended."""


def bucket(seconds: float) -> int:
    """Which bucket of a histogram holds a time."""
    if seconds < 0.001:
        return 0
    return min(int(math.log2(seconds * 1000)) + 1, HISTOGRAM_BUCKETS - 1)


def sort_key(ready_at: float, priority: int, queue: str) -> int:
    """Milliseconds; the smallest is next. A head start in time, so that a task that waits long enough is next (ageing)."""
    head_start = priority * PRIORITY_HEAD_START_SECONDS + QUEUE_HEAD_START_SECONDS.get(queue, 0.0)
    return int((ready_at - head_start) * 1000)
