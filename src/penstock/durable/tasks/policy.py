"""What a kind of task gets when its submission does not say: attempts, time, rests between attempts."""

from dataclasses import dataclass

from penstock.domain.durable.queues import DEFAULT_QUEUE
from penstock.domain.durable.tasks import DEFAULT_PRIORITY


@dataclass(frozen=True, slots=True)
class KindPolicy:
    max_attempts: int
    timeout_seconds: float
    backoff_seconds: float
    backoff_cap_seconds: float
    queue: str = DEFAULT_QUEUE
    priority: int = DEFAULT_PRIORITY


FUNCTION = KindPolicy(max_attempts=3, timeout_seconds=3_600.0, backoff_seconds=1.0, backoff_cap_seconds=600.0)
"""The user's own code: unknown, so little is assumed."""
INFERENCE = KindPolicy(max_attempts=5, timeout_seconds=900.0, backoff_seconds=2.0, backoff_cap_seconds=300.0)
"""Waiting for a free slot does not count as an attempt; a worker that breaks does."""
WEBHOOK = KindPolicy(max_attempts=8, timeout_seconds=30.0, backoff_seconds=5.0, backoff_cap_seconds=3_600.0)
"""A receiver that is down for an hour still gets its news."""

POLICIES = {"function": FUNCTION, "inference": INFERENCE, "webhook": WEBHOOK}
RESERVED = frozenset({"report"})
"""Kinds that no runner can execute yet: refused at submission, because such a task would wait for ever."""
