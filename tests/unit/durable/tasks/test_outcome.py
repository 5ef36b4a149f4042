"""What the end of an attempt means."""

from random import Random

import pytest

from penstock.domain.durable.leases import Lease, LeaseCompletion
from penstock.domain.durable.tasks import CompletionKind, TaskError
from penstock.durable.tasks.backoff import Backoff
from penstock.durable.tasks.outcome import AttemptFailed, Cancelled, Released, Succeeded, TaskOutcome, completion_of

NOW = 1_000.0


def lease(attempt: int = 1, max_attempts: int = 3) -> Lease:
    return Lease(
        task_id="task_1",
        lease_seq=7,
        org_id="org",
        key_id="key",
        queue="medium",
        kind="function",
        name="f",
        priority=5,
        payload="null",
        attempt=attempt,
        max_attempts=max_attempts,
        timeout_seconds=None,
        backoff_seconds=2.0,
        backoff_cap_seconds=10.0,
        has_parents=False,
        enqueued_at=0.0,
        started_at=0.0,
        traceparent="",
    )


def ended(kind: CompletionKind, **fields: object) -> LeaseCompletion:
    return LeaseCompletion(task_id="task_1", lease_seq=7, kind=kind, **fields)  # type: ignore[arg-type]  # as each case has them


ERROR = TaskError("raised", "no")


@pytest.mark.parametrize(
    ("attempt", "how", "expected"),
    [
        (1, Succeeded("5"), ended(CompletionKind.SUCCEEDED, result="5")),
        (1, Cancelled(), ended(CompletionKind.CANCELLED)),
        (1, Released(), ended(CompletionKind.RELEASED)),
        (1, Released(4.0), ended(CompletionKind.RELEASED, retry_at=NOW + 4)),
        (3, AttemptFailed("raised", "no"), ended(CompletionKind.FAILED, error=ERROR)),
        (1, AttemptFailed("raised", "no", final=True), ended(CompletionKind.FAILED, error=ERROR)),
        (1, AttemptFailed("raised", "no", final=True, result="{}"), ended(CompletionKind.FAILED, error=ERROR, result="{}")),
        (2, AttemptFailed("raised", "no", retry_seconds=30.0), ended(CompletionKind.RETRIED, error=ERROR, retry_at=NOW + 30)),
    ],
)
def test_completion_follows_from_outcome_and_attempt(attempt: int, how: TaskOutcome, expected: LeaseCompletion) -> None:
    assert completion_of(lease(attempt), how, NOW, Random(1)) == expected


def test_a_result_that_is_too_large_fails_without_another_attempt() -> None:
    finish = completion_of(lease(), Succeeded('"' + "ä" * 600_000 + '"'), NOW, Random(1))
    assert (finish.kind, finish.result) == (CompletionKind.FAILED, None)
    assert finish.error is not None
    assert finish.error.code == "result_too_large"


def test_retry_delay_is_drawn_between_zero_and_a_bound_that_doubles() -> None:
    rests = [completion_of(lease(2, 9), AttemptFailed("raised", "no"), NOW, Random(seed)).retry_at - NOW for seed in range(500)]
    assert 0 <= min(rests) < 0.1
    assert 3.9 < max(rests) <= 4.0
    assert 1.8 < sum(rests) / len(rests) < 2.2


def test_backoff_bound_doubles_up_to_its_cap() -> None:
    backoff = Backoff(2.0, 10.0)
    assert [backoff.bound(attempt) for attempt in (1, 2, 3, 4, 1_000)] == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    finish = completion_of(lease(3), AttemptFailed("raised", "begin" + "x" * 100_000 + "end"), NOW, Random(1))
    assert finish.error is not None
    message = finish.error.message
    assert message.startswith("begin")
    assert message.endswith("end")
    assert len(message) < 5_000
