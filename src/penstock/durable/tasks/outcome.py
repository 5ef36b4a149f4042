"""What an attempt's end means for its task: done, once more later, or failed."""

from dataclasses import dataclass
from random import Random
from typing import Protocol

from penstock.domain.durable.leases import Finish
from penstock.domain.durable.tasks import FinishKind, TaskError
from penstock.durable.tasks.backoff import Backoff
from penstock.durable.tasks.limits import PAYLOAD_BYTES, shortened, too_long


@dataclass(frozen=True, slots=True)
class Succeeded:
    result: str = "null"
    """JSON text."""


@dataclass(frozen=True, slots=True)
class Broke:
    """It did not succeed. `final`: another attempt would end in the same way."""

    code: str
    message: str
    final: bool = False
    retry_seconds: float | None = None
    """When the task itself (or whoever refused it) said when to come back; None: by backoff."""
    result: str | None = None
    """JSON text that is worth keeping although it is no success: an error's whole answer."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Stopped because somebody cancelled the task."""


@dataclass(frozen=True, slots=True)
class GivenBack:
    """Not begun (the runner stops), or turned away because somebody else comes first; not counted as an attempt."""

    rest_seconds: float = 0.0


Ended = Succeeded | Broke | Cancelled | GivenBack


class Leased(Protocol):
    """The part of a lease (or of an expired one) that decides."""

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


def finish_of(lease: Leased, ended: Ended, now: float, random: Random) -> Finish:
    """`now`: the store's clock."""
    match ended:
        case Succeeded(result) if not too_long(result):
            return Finish(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=FinishKind.SUCCEEDED, result=result)
        case Succeeded():
            what = f"The result has more than {PAYLOAD_BYTES} bytes of JSON: write it to a file and return a reference."
            return _failed(lease, TaskError("result_too_large", what), None)
        case Cancelled():
            return Finish(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=FinishKind.CANCELLED)
        case GivenBack(pause):
            retry_at = now + pause if pause else 0.0
            return Finish(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=FinishKind.RELEASED, retry_at=retry_at)
    error = TaskError(ended.code, shortened(ended.message))
    if ended.final or lease.attempt >= lease.max_attempts:
        return _failed(lease, error, ended.result)
    rest = ended.retry_seconds
    if rest is None:
        rest = Backoff(lease.backoff_seconds, lease.backoff_cap_seconds).seconds(lease.attempt, random)
    return Finish(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=FinishKind.RETRIED, error=error, retry_at=now + rest)


def _failed(lease: Leased, error: TaskError, result: str | None) -> Finish:
    return Finish(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=FinishKind.FAILED, error=error, result=result)
