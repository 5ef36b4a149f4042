"""Rows to and from the words of the domain."""

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.domain.durable.leases import Lease, RunnerRecord
from penstock.domain.durable.queues import PRIORITY_HEAD_START_SECONDS, QUEUE_HEAD_START_SECONDS
from penstock.domain.durable.schedules import MissedRuns, Schedule
from penstock.domain.durable.tasks import CompletionKind, NewTask, Task, TaskAttempt, TaskError, TaskStatus, ability
from penstock.domain.ids import task_id, task_number
from penstock.storage.stores.tasks.transaction import Given, Row

HELD, SCHEDULED, READY, RUNNING = -1, 0, 1, 2
"""`task_hot.state`. Held: ready but for others of its concurrency key, which have its places."""
HOT = "hot"
"""`task.status` while there is a row in `task_hot`."""
HOT_STATUSES = {HELD: TaskStatus.READY, SCHEDULED: TaskStatus.SCHEDULED, READY: TaskStatus.READY, RUNNING: TaskStatus.RUNNING}

_encode, _decode = msgspec.json.encode, msgspec.json.Decoder(tuple[str, ...]).decode

# In the order in which `task_of` takes them. What changes while a task waits or runs is in the hot row, if there is one.
_LIVE = ("state", "ready_at", "attempt", "runner_id", "started_at", "cancel", "progress")
_KEPT = (
    "number", "org_id", "key_id", "queue", "kind", "name", "priority", "idempotency_key", "tags", "dag", "status", "created_at",
    "run_at", "started_at", "finished_at", "expires_at", "keep_seconds", "attempt", "max_attempts", "timeout_seconds",
    "backoff_seconds", "backoff_cap_seconds", "runner_id", "pending_parents", "error_code", "error_message", "traceparent",
    "concurrency_key", "max_per_key", "unique_key",
)  # fmt: skip
TASK = ", ".join([*(f"t.{name}" for name in _KEPT), *(f"h.{name}" for name in _LIVE)])
BODIES = "t.payload, t.result"
FROM = "FROM task t LEFT JOIN task_hot h ON h.task = t.number"


def task_of(row: Row) -> Task:
    """From the columns `TASK`, with or without `BODIES` after them."""
    (
        number, org_id, key_id, queue, kind, name, priority, idempotency_key, tags, dag, status, created_at,
        run_at, started_at, finished_at, expires_at, keep_seconds, attempt, max_attempts, timeout_seconds,
        backoff_seconds, backoff_cap_seconds, runner_id, pending_parents, error_code, error_message, traceparent,
        concurrency_key, max_per_key, unique_key,
        state, hot_ready_at, hot_attempt, hot_runner_id, hot_started_at, cancel, progress, *bodies,
    ) = row  # fmt: skip
    hot = state is not None
    return Task(
        id=task_id(number),
        org_id=org_id,
        key_id=key_id,
        queue=queue,
        kind=kind,
        name=name,
        priority=priority,
        payload=bodies[0] if bodies else None,
        idempotency_key=idempotency_key,
        tags=_decode(tags),
        dag_id=None if dag is None else task_id(dag),
        status=HOT_STATUSES[state] if hot else TaskStatus(status),
        created_at=created_at,
        run_at=hot_ready_at if hot else run_at,
        started_at=hot_started_at if state == RUNNING else started_at,
        finished_at=finished_at,
        expires_at=expires_at,
        keep_seconds=keep_seconds,
        attempt=hot_attempt if hot else attempt,
        max_attempts=max_attempts,
        timeout_seconds=timeout_seconds,
        backoff_seconds=backoff_seconds,
        backoff_cap_seconds=backoff_cap_seconds,
        runner_id=hot_runner_id if state == RUNNING else runner_id,
        pending_parents=pending_parents,
        progress=progress if hot else None,
        result=bodies[1] if bodies else None,
        error=error_of(error_code, error_message),
        cancel_requested=bool(cancel),
        traceparent=traceparent,
        concurrency_key=concurrency_key,
        max_running_per_key=max_per_key,
        unique_key=unique_key,
    )


def given_task(task: NewTask, number: int, now: float) -> Given:
    """The row of a task that nothing is in the way of; what its parents change is the caller's."""
    return {
        "number": number,
        "org_id": task.org_id,
        "key_id": task.key_id,
        "queue": task.queue,
        "kind": task.kind,
        "name": task.name,
        "priority": task.priority,
        "payload": task.payload,
        "payload_hash": task.payload_hash.hex(),
        "idempotency_key": task.idempotency_key,
        "tags": texts(task.tags) if task.tags else "[]",
        "dag": None if task.dag_id is None else number_of(task.dag_id),
        "status": HOT,
        "created_at": now,
        "run_at": max(now, task.run_at or now),
        "started_at": None,
        "finished_at": None,
        "expires_at": task.expires_at,
        "keep_seconds": task.keep_seconds,
        "delete_at": None,
        "attempt": 0,
        "lease_seq": 0,
        "max_attempts": task.max_attempts,
        "timeout_seconds": task.timeout_seconds,
        "backoff_seconds": task.backoff_seconds,
        "backoff_cap_seconds": task.backoff_cap_seconds,
        "runner_id": "",
        "pending_parents": 0,
        "parents": len(task.parents),
        "has_children": 0,
        "result": None,
        "error_code": None,
        "error_message": None,
        "traceparent": task.traceparent,
        "concurrency_key": task.concurrency_key,
        "max_per_key": None if task.concurrency_key is None else task.max_running_per_key,
        "unique_key": task.unique_key,
    }


def state_at(ready_at: float, now: float, concurrency_key: str | None) -> int:
    """Of a task that waits; with a key it is not ready before `queues.admit` has found a place."""
    if ready_at > now:
        return SCHEDULED
    return READY if concurrency_key is None else HELD


def given_hot(task: Given, ready_at: float, now: float) -> Given:
    """The hot row of a task that starts waiting, from its own row."""
    head_start = task["priority"] * PRIORITY_HEAD_START_SECONDS + QUEUE_HEAD_START_SECONDS.get(task["queue"], 0.0)
    return {
        "task": task["number"],
        "org_id": task["org_id"],
        "queue": task["queue"],
        "ability": ability(task["kind"], task["name"]),
        "state": state_at(ready_at, now, task["concurrency_key"]),
        "sort_key": int((ready_at - head_start) * 1000),
        "head_start_seconds": head_start,
        "ready_at": ready_at,
        "attempt": task["attempt"],
        "lease_seq": task["lease_seq"],
        "runner_id": "",
        "started_at": None,
        "timeout_seconds": task["timeout_seconds"],
        "expires_at": task["expires_at"],
        "cancel": 0,
        "progress": None,
        "losses": 0,
        "concurrency_key": task["concurrency_key"],
        "max_per_key": task["max_per_key"],
    }


def lease_of(row: Row) -> Lease:
    """A row of the statement that claims, as a lease."""
    (
        number, lease_seq, org_id, key_id, queue, kind, name, priority, payload, attempt, max_attempts, timeout_seconds,
        backoff_seconds, backoff_cap_seconds, parents, ready_at, started_at, traceparent,
    ) = row  # fmt: skip
    return Lease(
        task_id=task_id(number),
        lease_seq=lease_seq,
        org_id=org_id,
        key_id=key_id,
        queue=queue,
        kind=kind,
        name=name,
        priority=priority,
        payload=payload,
        attempt=attempt,
        max_attempts=max_attempts,
        timeout_seconds=timeout_seconds,
        backoff_seconds=backoff_seconds,
        backoff_cap_seconds=backoff_cap_seconds,
        has_parents=bool(parents),
        enqueued_at=ready_at,
        started_at=started_at,
        traceparent=traceparent,
    )


def attempt_of(row: Row) -> TaskAttempt:
    number, runner_id, started_at, finished_at, outcome, error_code, error_message = row
    return TaskAttempt(
        number=number,
        runner_id=runner_id,
        started_at=started_at,
        finished_at=finished_at,
        outcome=None if outcome is None else CompletionKind(outcome),
        error=error_of(error_code, error_message),
    )


RUNNER = "id, name, org_id, queues, slots, kinds, functions, version, identity, joined_at, last_beat_at, draining, token_id"


def runner_of(row: Row, running: int) -> RunnerRecord:
    """A row of the table of runners, as a record."""
    id_, name, org_id, queues, slots, kinds, functions, version, identity, joined_at, last_beat_at, draining, token_id = row
    return RunnerRecord(
        id=id_,
        name=name,
        org_id=org_id,
        queues=_decode(queues),
        slots=slots,
        kinds=_decode(kinds),
        functions=functions,
        version=version,
        identity=bytes.fromhex(identity),
        joined_at=joined_at,
        last_beat_at=last_beat_at,
        draining=bool(draining),
        running=running,
        token_id=token_id,
    )


SCHEDULE = "id, org_id, key_id, name, cron, time_zone, missed, task, created_at, next_at, last_at, paused"


def schedule_of(row: Row) -> Schedule:
    id_, org_id, key_id, name, cron, time_zone, missed, task, created_at, next_at, last_at, paused = row
    return Schedule(
        id_, org_id, key_id, name, cron, time_zone, MissedRuns(missed), task, created_at, next_at, last_at, bool(paused)
    )  # fmt: skip


def error_of(code: str | None, message: str | None) -> TaskError | None:
    return None if code is None else TaskError(code, message or "")


def texts(values: Sequence[str]) -> str:
    """A list as a column keeps it."""
    return _encode(values).decode()


def number_of(id_: str) -> int:
    """The number that a task's id stands for; -1, which no task has, when it is not one."""
    number = task_number(id_)
    return -1 if number is None else number


def listed_numbers(ids: Sequence[str]) -> list[Any]:
    """Ascending and once each: every transaction locks tasks in this order."""
    return sorted({number for number in map(number_of, ids) if number >= 0})
