"""Ending leases. A runner that lost a lease cannot end it: the hot row is found by task, lease and runner, or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.domain.durable.leases import NOT_STORABLE, AttemptOutput, LeaseCompletion
from penstock.domain.durable.tasks import CompletionKind, TaskError, TaskStatus
from penstock.domain.ids import task_number
from penstock.storage.stores.tasks import schema
from penstock.storage.stores.tasks.children import settle
from penstock.storage.stores.tasks.minutes import Ended, note
from penstock.storage.stores.tasks.queues import Place, admit, bounded
from penstock.storage.stores.tasks.rows import state_at
from penstock.storage.stores.tasks.search.words import normalised, of_json
from penstock.storage.stores.tasks.transaction import Given, TaskTransaction

_ENDS = {
    CompletionKind.SUCCEEDED: TaskStatus.SUCCEEDED,
    CompletionKind.FAILED: TaskStatus.FAILED,
    CompletionKind.CANCELLED: TaskStatus.CANCELLED,
}
KEPT_LOGS = 20
"""Of a task: the attempts before the last twenty lose theirs."""
CANCELLED = TaskError("cancelled", "The task was cancelled.")


class _Held(NamedTuple):
    """A lease that is being ended: the hot row, and what its task says."""

    task: int
    lease_seq: int
    attempt: int
    org_id: str
    queue: str
    ready_at: float
    started_at: float
    runner_id: str
    head_start_seconds: float
    cancel: int
    keep_seconds: float | None
    has_children: int
    concurrency_key: str | None


_HELD = (
    "SELECT h.task, h.lease_seq, h.attempt, h.org_id, h.queue, h.ready_at, h.started_at, h.runner_id, h.head_start_seconds, h.cancel, "
    "t.keep_seconds, t.has_children, h.concurrency_key FROM task_hot h JOIN task t ON t.number = h.task WHERE h.state = 2 AND "
)


@dataclass(slots=True)
class _Ends:
    """What one call writes."""

    over: list[Given] = field(default_factory=list)
    again: list[Given] = field(default_factory=list)
    errors: list[Given] = field(default_factory=list)
    attempts: list[Given] = field(default_factory=list)
    logs: list[Given] = field(default_factory=list)
    words: list[tuple[int, str]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    parents: dict[int, TaskStatus] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)
    left_queues: set[tuple[str, str]] = field(default_factory=set)
    """Organisation and queue of each lease."""
    places: set[Place] = field(default_factory=set)


def finish(
    db: TaskTransaction, runner_id: str, finishes: Sequence[LeaseCompletion], now: float
) -> tuple[list[TaskStatus | None], set[str]]:
    """The new status of each, None for a stale one; and the queues in which something is ready now."""
    numbers = [task_number(given.task_id) for given in finishes]
    held = _held(db, runner_id, [number for number in numbers if number is not None])
    ends = _Ends()
    found: list[TaskStatus | None] = []
    for number, given in zip(numbers, finishes, strict=True):
        lease = held.pop(number, None) if number is not None else None
        if lease is None or lease.lease_seq != given.lease_seq:
            found.append(None)
            continue
        found.append(_end(ends, lease, given, now))
        if given.output is not None:
            ends.logs.append(_log(lease, given.output))
    _write(db, ends, now)
    return found, ends.ready


def give_back(db: TaskTransaction, leases: Sequence[_Held], now: float) -> set[str]:
    """Leases that were never used: ready again, and not counted as an attempt. The queues that they are ready in."""
    ends = _Ends()
    for lease in leases:
        _go_on(ends, lease, CompletionKind.RELEASED, None, now, now)
    _write(db, ends, now)
    return ends.ready


def held_by(db: TaskTransaction, runner_id: str) -> list[_Held]:
    """The leases of a runner, locked."""
    return [_Held(*row) for row in db.rows(f"{_HELD} h.runner_id = ? ORDER BY h.task{_lock(db)}", runner_id)]


def _held(db: TaskTransaction, runner_id: str, numbers: Sequence[int]) -> dict[int | None, _Held]:
    statement = f"{_HELD} {db.any_of('h.task')} AND h.runner_id = ? ORDER BY h.task{_lock(db)}"
    return {row[0]: _Held(*row) for row in db.rows(statement, db.listed(numbers), runner_id)}


def _lock(db: TaskTransaction) -> str:
    # The task, too: a transaction that adds a child to it waits until it is over, and then sees that it is.
    return f"{db.lock} OF h, t" if db.lock else ""


def _end(ends: _Ends, lease: _Held, given: LeaseCompletion, now: float) -> TaskStatus:
    if given.kind in (CompletionKind.RETRIED, CompletionKind.RELEASED) and not lease.cancel:
        return _go_on(ends, lease, given.kind, given.error, max(now, given.retry_at), now)
    _leave(ends, lease)
    status = _ENDS.get(given.kind, TaskStatus.CANCELLED)
    error = given.error or (CANCELLED if status is TaskStatus.CANCELLED else None)
    ends.over.append(
        {
            "number": lease.task,
            "status": status.value,
            "started_at": lease.started_at,
            "finished_at": now,
            "delete_at": None if lease.keep_seconds is None else now + lease.keep_seconds,
            "attempt": lease.attempt,
            "lease_seq": lease.lease_seq,
            "runner_id": lease.runner_id,
            "result": given.result,
            "error_code": error.code if error else None,
            "error_message": error.message if error else None,
        }
    )
    ends.ended.append(Ended(lease.org_id, lease.queue, status, lease.started_at - lease.ready_at, now - lease.started_at))
    if lease.has_children:
        ends.parents[lease.task] = status
    _remember_words(ends, lease.task, given.result, error)
    return status


def _go_on(ends: _Ends, lease: _Held, kind: CompletionKind, error: TaskError | None, ready_at: float, now: float) -> TaskStatus:
    _leave(ends, lease)
    released = kind is CompletionKind.RELEASED
    ready_at = lease.ready_at if released and ready_at <= now else ready_at  # what was never used loses no place
    ends.attempts.append(
        {
            "task": lease.task,
            "lease_seq": lease.lease_seq,
            "number": lease.attempt,
            "runner_id": lease.runner_id,
            "started_at": lease.started_at,
            "finished_at": now,
            "outcome": kind.value,
            "error_code": error.code if error else None,
            "error_message": error.message if error else None,
        }
    )
    ready = ready_at <= now
    ends.again.append(
        {
            "task": lease.task,
            "state": state_at(ready_at, now, lease.concurrency_key),
            "sort_key": int((ready_at - lease.head_start_seconds) * 1000),
            "ready_at": ready_at,
            "attempt": lease.attempt - released,
            "runner_id": "",
            "started_at": None,
            "progress": None,
        }
    )
    if error is not None:
        ends.errors.append({"number": lease.task, "error_code": error.code, "error_message": error.message})
        _remember_words(ends, lease.task, None, error)
    if not released:
        ends.ended.append(Ended(lease.org_id, lease.queue, None, lease.started_at - lease.ready_at, now - lease.started_at))
    if ready:
        ends.ready.add(lease.queue)
    return TaskStatus.READY if ready else TaskStatus.SCHEDULED


def _log(lease: _Held, output: AttemptOutput) -> Given:
    return {
        "task": lease.task,
        "lease_seq": lease.lease_seq,
        "number": lease.attempt,
        "runner_id": lease.runner_id,
        "started_at": lease.started_at,
        "text": output.text,
        "left_out_bytes": output.left_out_bytes,
    }


def _leave(ends: _Ends, lease: _Held) -> None:
    """A place in its queue, and among those of its key, may be free."""
    ends.left_queues.add((lease.org_id, lease.queue))
    if lease.concurrency_key is not None:
        ends.places.add((lease.org_id, lease.concurrency_key))


def _remember_words(ends: _Ends, number: int, result: str | None, error: TaskError | None) -> None:
    if error is not None and error.code == NOT_STORABLE:
        return  # nothing that the database refuses may be part of such an end, and its index of words may be what is full
    words = " ".join(filter(None, (of_json(result), normalised(error.code, error.message) if error else "")))
    if words:
        ends.words.append((number, words))


def _write(db: TaskTransaction, ends: _Ends, now: float) -> None:
    if ends.logs:
        _write_logs(db, ends.logs)
    if ends.over:
        db.run(f"DELETE FROM task_hot WHERE {db.any_of('task')}", db.listed(row["number"] for row in ends.over))
        db.update(schema.task, "number", ends.over)
    db.update(schema.task_hot, "task", ends.again)
    db.update(schema.task, "number", ends.errors)
    db.insert(schema.task_attempt, ends.attempts)
    if ends.words:
        db.more_words(ends.words)
    if ends.parents:
        settled = settle(db, ends.parents, now)
        ends.ready |= settled.ready
        ends.places |= settled.places
        ends.ended += settled.ended
    ends.ready |= bounded(db, ends.left_queues) | admit(db, ends.places)
    note(db, ends.ended, now)


def _write_logs(db: TaskTransaction, logs: list[Given]) -> None:
    """While the leases are there: what they printed so far is replaced."""
    held = "EXISTS (SELECT 1 FROM task_hot h WHERE h.task = task_log.task AND h.lease_seq = task_log.lease_seq)"
    db.run(f"DELETE FROM task_log WHERE {db.any_of('task')} AND {held}", db.listed(row["task"] for row in logs))
    db.insert(schema.task_log, logs)
    if long := [row["task"] for row in logs if row["lease_seq"] > KEPT_LOGS]:
        newest = "(SELECT max(newest.lease_seq) FROM task_log newest WHERE newest.task = task_log.task)"
        db.run(f"DELETE FROM task_log WHERE {db.any_of('task')} AND lease_seq <= {newest} - {KEPT_LOGS}", db.listed(long))
