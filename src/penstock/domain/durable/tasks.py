"""Work that must not be lost: a task, where it is in its life, and what became of it.

What crosses a process for each task is a msgspec struct, because thousands a second do. Times are Unix seconds by the store's clock
(`TaskStore.now`); payloads and results are JSON texts that the store does not look into.
"""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from penstock.domain.durable.queues import DEFAULT_QUEUE

LOWEST_PRIORITY, DEFAULT_PRIORITY, HIGHEST_PRIORITY = 1, 5, 10
"""10 is the most urgent."""


class TaskStatus(StrEnum):
    """Where a task is in its life."""

    BLOCKED = "blocked"
    """Waits for its parents."""
    SCHEDULED = "scheduled"
    """Waits for its time, or for the time of its next attempt."""
    READY = "ready"
    """Waits for a runner."""
    RUNNING = "running"
    """Leased by a runner."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Attempts used up, or not worth another: the dead-letter view."""
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    """A parent did not succeed, and the task was to be left out then."""

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.SKIPPED})

LEGAL_MOVES: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.BLOCKED: frozenset(
        {TaskStatus.SCHEDULED, TaskStatus.READY, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.SKIPPED},
    ),
    TaskStatus.SCHEDULED: frozenset({TaskStatus.READY, TaskStatus.FAILED, TaskStatus.CANCELLED}),
    TaskStatus.READY: frozenset({TaskStatus.RUNNING, TaskStatus.FAILED, TaskStatus.CANCELLED}),
    TaskStatus.RUNNING: frozenset(
        {TaskStatus.READY, TaskStatus.SCHEDULED, TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELLED},
    ),
    # Only when another run is asked for.
    TaskStatus.SUCCEEDED: frozenset({TaskStatus.READY, TaskStatus.BLOCKED}),
    TaskStatus.FAILED: frozenset({TaskStatus.READY, TaskStatus.BLOCKED}),
    TaskStatus.CANCELLED: frozenset({TaskStatus.READY, TaskStatus.BLOCKED}),
    TaskStatus.SKIPPED: frozenset({TaskStatus.READY, TaskStatus.BLOCKED}),
}


class OnParentFailure(StrEnum):
    """What becomes of a task when a parent ends in another way than succeeded; at once, without waiting for the other parents."""

    FAIL = "fail"
    RUN = "run"
    SKIP = "skip"


class TaskError(msgspec.Struct, frozen=True):
    """Why a task, or one attempt at it, did not succeed."""

    code: str
    """Stable, for programs: timeout, lease_lost, crashed, parent_failed, expired, or the kind's own."""
    message: str


class Parent(msgspec.Struct, frozen=True):
    """A task that another one waits for."""

    id: str
    on_failure: OnParentFailure = OnParentFailure.FAIL


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it is submitted: checked and complete, its local names already resolved to ids."""

    id: str
    """From `TaskIds`."""
    org_id: str
    key_id: str = ""
    """On whose behalf it runs; empty: no key but the organisation itself."""
    queue: str = DEFAULT_QUEUE
    kind: str
    """Which member of the runner's kinds executes it: function, inference, webhook."""
    name: str = ""
    """What people call it; for a function the name that it was registered under."""
    priority: int = DEFAULT_PRIORITY
    payload: str = "null"
    payload_hash: bytes = b""
    """Of what the caller asked for; tells a repeated submission from another one under the same idempotency key."""
    idempotency_key: str | None = None
    """Unique in the organisation."""
    tags: tuple[str, ...] = ()
    parents: tuple[Parent, ...] = ()
    """Of the same organisation; those of the same call must come before their children in it."""
    dag_id: str | None = None
    """What the tasks of one graph have in common: the id of its first task."""
    run_at: float | None = None
    """Not before this time; None: at once."""
    expires_at: float | None = None
    """A task that was not started by then fails with `expired`."""
    keep_seconds: float | None = None
    """Deleted that long after its end; None: kept."""
    max_attempts: int = 3
    timeout_seconds: float | None = None
    """For one attempt."""
    backoff_seconds: float = 1.0
    backoff_cap_seconds: float = 600.0
    traceparent: str = ""
    concurrency_key: str | None = None
    """Of the organisation's tasks with this key only `max_running_per_key` are started at a time."""
    max_running_per_key: int = 1
    unique_key: str | None = None
    """While a task of the organisation with this key is not over, another one with it is not made."""


def ability(kind: str, name: str) -> str:
    """What a runner must be able to do for such a task: `inference`, `webhook`, `function:resize`."""
    return f"{kind}:{name}" if kind == "function" else kind


class Enqueued(msgspec.Struct, frozen=True):
    """What became of one submitted task."""

    id: str
    """The one that is there already, when the idempotency key was known, or the unique key is that of a task that is not over."""
    created: bool


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it is kept; without its payload where a list is asked for."""

    id: str
    org_id: str
    key_id: str
    queue: str
    kind: str
    name: str
    priority: int
    payload: str | None
    """None in lists."""
    idempotency_key: str | None
    tags: tuple[str, ...]
    dag_id: str | None
    status: TaskStatus
    created_at: float
    run_at: float
    """When it may start, or start again."""
    started_at: float | None
    """Of the last attempt."""
    finished_at: float | None
    expires_at: float | None
    keep_seconds: float | None
    attempt: int
    """How often it was started; 0: never."""
    max_attempts: int
    timeout_seconds: float | None
    backoff_seconds: float
    backoff_cap_seconds: float
    runner_id: str
    """Who has it, or had it last; empty: no runner yet."""
    pending_parents: int
    progress: str | None
    """JSON text that the task reported last, while it runs."""
    result: str | None
    """JSON text; None in lists."""
    error: TaskError | None
    """Of the last attempt that failed; also while the next one is waiting."""
    cancel_requested: bool
    traceparent: str
    concurrency_key: str | None = None
    max_running_per_key: int | None = None
    """None: without a concurrency key."""
    unique_key: str | None = None


class CompletionKind(StrEnum):
    """How a lease ends."""

    SUCCEEDED = "succeeded"
    RETRIED = "retried"
    """Another attempt follows, not before `LeaseCompletion.retry_at`."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    RELEASED = "released"
    """Given back unused, and not counted as an attempt: ready at once, or not before `LeaseCompletion.retry_at`."""


class TaskAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One lease of a task."""

    number: int
    """From 1; a lease that was given back unused has the number of the one after it."""
    runner_id: str
    started_at: float
    finished_at: float | None
    """None: it runs."""
    outcome: "CompletionKind | None"
    error: TaskError | None


class TaskLog(msgspec.Struct, frozen=True, kw_only=True):
    """What a function printed during one attempt."""

    attempt: int
    runner_id: str
    started_at: float
    text: str
    left_out_bytes: int
    """From the middle of it."""


class RelatedTask(msgspec.Struct, frozen=True):
    """A parent or child of a task."""

    id: str
    name: str
    status: TaskStatus
    on_failure: OnParentFailure


class TaskDetail(msgspec.Struct, frozen=True):
    task: Task
    parents: tuple[RelatedTask, ...]
    children: tuple[RelatedTask, ...]
    """At most 1,000 of them."""
    attempts: tuple[TaskAttempt, ...]
    """In the order of their starts."""


class ParentResult(msgspec.Struct, frozen=True):
    """What a child may refer to."""

    id: str
    name: str
    status: TaskStatus
    result: str | None


@dataclass(frozen=True, slots=True)
class Dag:
    id: str
    tasks: tuple[Task, ...]
    edges: tuple[tuple[str, str, OnParentFailure], ...]
    """Parent, child, and what the child does when the parent does not succeed."""


class EventType(StrEnum):
    CREATED = "created"
    CLAIMED = "claimed"
    RETRIED = "retried"
    """An attempt ended without success, or a lease was given back unused; another one follows."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class TaskEvent(msgspec.Struct, frozen=True):
    type: EventType
    at: float
    attempt: int
    runner: str


_TERMINAL_EVENTS = {
    TaskStatus.SUCCEEDED: EventType.SUCCEEDED,
    TaskStatus.FAILED: EventType.FAILED,
    TaskStatus.CANCELLED: EventType.CANCELLED,
    TaskStatus.SKIPPED: EventType.SKIPPED,
}


def events(detail: TaskDetail) -> list[TaskEvent]:
    """The life of a task in the order in which it happened. Told from its attempts: no row is written for an event."""
    task = detail.task
    found = [TaskEvent(EventType.CREATED, task.created_at, 0, "")]
    for attempt in detail.attempts:
        found.append(TaskEvent(EventType.CLAIMED, attempt.started_at, attempt.number, attempt.runner_id))
        if attempt.outcome is not None and attempt.finished_at is not None:
            type_ = EventType.RETRIED if attempt.outcome is CompletionKind.RELEASED else EventType(attempt.outcome.value)
            found.append(TaskEvent(type_, attempt.finished_at, attempt.number, attempt.runner_id))
    # An end without a lease: cancelled before its start, expired, decided by a parent.
    if task.finished_at is not None and found[-1].type is not _TERMINAL_EVENTS[task.status]:
        found.append(TaskEvent(_TERMINAL_EVENTS[task.status], task.finished_at, task.attempt, ""))
    return found
