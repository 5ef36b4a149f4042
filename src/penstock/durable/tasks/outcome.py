"""What the outcome of an attempt means for its task: done, another attempt later, or failed."""

from dataclasses import dataclass
from random import Random
from typing import Protocol

from msgspec.structs import replace

from penstock.domain.durable.leases import AttemptOutput, LeaseCompletion
from penstock.domain.durable.tasks import CompletionKind, TaskError
from penstock.domain.text import storable
from penstock.durable.tasks.backoff import Backoff
from penstock.durable.tasks.limits import LONGEST_CODE, PAYLOAD_BYTES, shortened, too_long


@dataclass(frozen=True, slots=True)
class Succeeded:
    result: str = "null"
    """JSON text."""


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """The attempt did not succeed. `final`: another attempt would end in the same way."""

    code: str
    message: str
    final: bool = False
    retry_seconds: float | None = None
    """As the task itself, or the server that refused it, asked for; None: by backoff."""
    result: str | None = None
    """JSON text that is kept although the attempt failed: the whole answer of an error."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Stopped, because the task was cancelled."""


@dataclass(frozen=True, slots=True)
class Released:
    """Not started (the runner stops), or refused because others come first; not counted as an attempt."""

    delay_seconds: float = 0.0


TaskOutcome = Succeeded | AttemptFailed | Cancelled | Released


class LeaseTerms(Protocol):
    """The fields of a lease, or of an expired one, that decide."""

    @property
    def task_id(self) -> str: ...
    @property
    def lease_seq(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def backoff_seconds(self) -> float: ...
    @property
    def backoff_cap_seconds(self) -> float: ...


def completion_of(
    lease: LeaseTerms, outcome: TaskOutcome, now: float, random: Random, output: AttemptOutput | None = None
) -> LeaseCompletion:
    """`now`: the store's clock. `output`: what the task printed."""
    completion = _completion(lease, outcome, now, random)
    return completion if output is None else replace(completion, output=output)


def _completion(lease: LeaseTerms, outcome: TaskOutcome, now: float, random: Random) -> LeaseCompletion:
    match outcome:
        case Succeeded(result) if not too_long(result):
            return LeaseCompletion(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=CompletionKind.SUCCEEDED, result=result)
        case Succeeded():
            what = f"The result has more than {PAYLOAD_BYTES} bytes of JSON: write it to a file and return a reference."
            return _failed(lease, TaskError("result_too_large", what), None)
        case Cancelled():
            return LeaseCompletion(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=CompletionKind.CANCELLED)
        case Released(pause):
            retry_at = now + pause if pause else 0.0
            return LeaseCompletion(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=CompletionKind.RELEASED, retry_at=retry_at)
    error = TaskError(storable(outcome.code)[:LONGEST_CODE], shortened(storable(outcome.message)))
    if outcome.final or lease.attempt >= lease.max_attempts:
        return _failed(lease, error, outcome.result)
    delay = outcome.retry_seconds
    if delay is None:
        delay = Backoff(lease.backoff_seconds, lease.backoff_cap_seconds).seconds(lease.attempt, random)
    return LeaseCompletion(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=CompletionKind.RETRIED, error=error, retry_at=now + delay)


def _failed(lease: LeaseTerms, error: TaskError, result: str | None) -> LeaseCompletion:
    if result is not None and too_long(result):
        result = None
    return LeaseCompletion(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=CompletionKind.FAILED, error=error, result=result)
