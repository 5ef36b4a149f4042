"""Leases, what runners report about them, and the runners themselves.

(task_id, lease_seq, runner) is the fencing token of every report about a task: a runner that has lost a lease is not heard.
"""

from dataclasses import dataclass, field

import msgspec

from penstock.domain.durable.tasks import CompletionKind, TaskError

LEASE_SECONDS, HEARTBEAT_SECONDS, LOST_CLAIM_SECONDS = 15.0, 5.0, 10.0
"""A runner that was silent for a lease has lost what it held. A lease that its runner does not name within ten seconds never arrived."""
NOT_STORABLE = "not_storable"
"""Code of the error of an end whose contents the store does not take."""
CANCELLATIONS = "!cancellations"
"""Not a queue: what `TaskStore.wait` is asked for to hear of cancelled tasks."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A task that a runner has claimed. (task_id, lease_seq, runner) is the fencing token of every report about it."""

    task_id: str
    lease_seq: int
    """Rises with every claim of the task, never repeats."""
    org_id: str
    key_id: str
    queue: str
    kind: str
    name: str
    priority: int
    payload: str
    attempt: int
    max_attempts: int
    timeout_seconds: float | None
    backoff_seconds: float
    backoff_cap_seconds: float
    has_parents: bool
    """There are results to refer to: `TaskStore.parent_results`."""
    enqueued_at: float
    """When it became ready."""
    started_at: float
    traceparent: str


class LeaseRef(msgspec.Struct, frozen=True, array_like=True):
    """Names a lease, for example in a heartbeat."""

    task_id: str
    lease_seq: int


class HeartbeatReply(msgspec.Struct, frozen=True):
    """The answer to a heartbeat."""

    known: bool
    """False: the runner was given up or never registered; it must register again, and what it held is lost."""
    draining: bool
    cancelled: tuple[LeaseRef, ...]
    """Held leases whose task is to be cancelled: stop, and finish them as cancelled."""
    lost: tuple[LeaseRef, ...]
    """Leases that the runner believes to hold and does not: stop, and report nothing more about them."""


class AttemptOutput(msgspec.Struct, frozen=True):
    """What a task printed during one attempt, bounded."""

    text: str
    left_out_bytes: int = 0
    """From the middle of it."""


class LeaseCompletion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one lease ended."""

    task_id: str
    lease_seq: int
    kind: CompletionKind
    result: str | None = None
    """JSON text; also of a failure, when there is more to say than its error does."""
    error: TaskError | None = None
    retry_at: float = 0.0
    output: AttemptOutput | None = None

    @property
    def is_bare(self) -> bool:
        return self.result is None and self.output is None and (self.error is None or self.error.code == NOT_STORABLE)

    def bare(self) -> "LeaseCompletion":
        """The same end without what it brings, when that cannot be written: a success without its result is a failed attempt."""
        kind = CompletionKind.FAILED if self.kind is CompletionKind.SUCCEEDED else self.kind
        error = TaskError(NOT_STORABLE, "The attempt ended, but its result or its error could not be written to the store.")
        return msgspec.structs.replace(self, kind=kind, result=None, output=None, error=error)


class ProgressReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is new of a running attempt."""

    task_id: str
    lease_seq: int
    progress: str = ""
    """JSON text; empty: nothing new."""
    output: AttemptOutput | None = None
    """All that it printed until now; None: nothing new."""


class ExpiredLease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease to be ended by the sweeper, who decides between another attempt and failure and says so with `TaskStore.finish`."""

    task_id: str
    lease_seq: int
    runner_id: str
    attempt: int
    max_attempts: int
    backoff_seconds: float
    backoff_cap_seconds: float
    kind: str
    cancel_requested: bool
    reason: str
    """`lease_lost` (its runner is silent) or `timeout` (its time is up, and its runner did not end it)."""


@dataclass(frozen=True, slots=True)
class RunnerRecord:
    """A process that executes tasks; a new id for each process."""

    id: str
    name: str
    org_id: str | None
    """Serves this organisation alone; None: every one."""
    queues: tuple[str, ...]
    """Empty: every queue."""
    slots: int
    kinds: tuple[str, ...] = ()
    """What it can run (`domain.tasks.ability`); empty: everything."""
    functions: str = "[]"
    """JSON text of its functions with their own defaults; the store does not look into it."""
    version: str = ""
    identity: bytes = field(default=b"", repr=False)
    """The Ed25519 public key that signs its calls; empty when it is joined directly to the store."""
    joined_at: float = 0.0
    last_beat_at: float = 0.0
    draining: bool = False
    running: int = 0
    """Leases that it holds; counted when asked for."""
    token_id: str = ""
    """The join token that introduced it; empty: unknown, or it is joined directly to the store."""


class PromotionResult(msgspec.Struct, frozen=True):
    """What `TaskStore.promote` did."""

    promoted: int
    expired: int
    next_at: float | None
    """When the next scheduled task is due; None: there is none."""
