"""What is due: scheduled tasks, tasks that were not started in time, tasks that were kept long enough, calendars."""

from collections.abc import Sequence

from penstock.domain.durable.leases import PromotionResult
from penstock.domain.durable.schedules import Schedule
from penstock.domain.durable.tasks import TaskError, TaskStatus
from penstock.storage.stores.tasks import schema
from penstock.storage.stores.tasks.children import settle
from penstock.storage.stores.tasks.minutes import Ended, note
from penstock.storage.stores.tasks.queues import admit
from penstock.storage.stores.tasks.rows import HELD, SCHEDULE, schedule_of
from penstock.storage.stores.tasks.transaction import TaskTransaction

_AT_ONCE = 1000
EXPIRED = TaskError("expired", "No runner started the task before it expired.")


def promote(db: TaskTransaction, now: float) -> tuple[PromotionResult, set[str]]:
    """At most 1,000 of each at once: `next_at` is in the past when there are more. And the queues in which something is ready now."""
    lost, ready = _expire(db, now)
    skip = f"{db.lock} SKIP LOCKED" if db.lock else ""
    due = db.rows(
        f"UPDATE task_hot SET state = CASE WHEN concurrency_key IS NULL THEN 1 ELSE {HELD} END WHERE task IN "
        f"(SELECT task FROM task_hot WHERE state = 0 AND ready_at <= ? ORDER BY ready_at LIMIT ?{skip}) AND state = 0 "
        "RETURNING queue, org_id, concurrency_key",
        now,
        _AT_ONCE,
    )
    ready |= admit(db, {(org_id, key) for _, org_id, key in due if key is not None})
    following = db.row("SELECT min(ready_at) FROM task_hot WHERE state = 0")
    return PromotionResult(len(due), lost, following[0] if following else None), ready | {row[0] for row in due}


def _expire(db: TaskTransaction, now: float) -> tuple[int, set[str]]:
    skip = f"{db.lock} SKIP LOCKED" if db.lock else ""
    waiting = db.rows(
        f"SELECT task FROM task_hot WHERE state < 2 AND expires_at IS NOT NULL AND expires_at <= ? AND attempt = 0 "
        f"ORDER BY expires_at LIMIT ?{skip}",
        now,
        _AT_ONCE,
    )
    blocked = db.rows(
        "SELECT number FROM task WHERE status = 'blocked' AND expires_at IS NOT NULL AND expires_at <= ? "
        f"ORDER BY expires_at LIMIT ?{skip}",
        now,
        _AT_ONCE,
    )
    numbers = [row[0] for row in (*waiting, *blocked)]
    return len(numbers), end_unstarted(db, numbers, TaskStatus.FAILED, EXPIRED, now) if numbers else set()


def end_unstarted(db: TaskTransaction, numbers: Sequence[int], status: TaskStatus, error: TaskError, now: float) -> set[str]:
    """End tasks that wait, whose rows are locked; the queues in which a child of theirs is ready now."""
    listed = db.listed(numbers)
    hot = db.rows(f"SELECT task, attempt, lease_seq, org_id, concurrency_key FROM task_hot WHERE {db.any_of('task')}", listed)
    attempts = {row[0]: row[1:3] for row in hot}
    db.run(f"DELETE FROM task_hot WHERE {db.any_of('task')}", listed)
    rows = db.rows(
        "UPDATE task SET status = ?, finished_at = ?, delete_at = ? + keep_seconds, pending_parents = 0, error_code = ?, "
        f"error_message = ? WHERE {db.any_of('number')} RETURNING number, org_id, queue, has_children",
        status.value,
        now,
        now,
        error.code,
        error.message,
        listed,
    )
    tried = [(number, *counts) for number, counts in attempts.items() if counts[1]]
    db.update(schema.task, "number", [{"number": number, "attempt": attempt, "lease_seq": seq} for number, attempt, seq in tried])
    settled = settle(db, {row[0]: status for row in rows if row[3]}, now)
    note(db, [*(Ended(org_id, queue, status) for _, org_id, queue, _ in rows), *settled.ended], now)
    return settled.ready | admit(db, {(row[3], row[4]) for row in hot if row[4] is not None} | settled.places)


def forget(db: TaskTransaction, numbers: Sequence[int]) -> None:
    """Delete tasks that are over, and every trace of them."""
    listed = db.listed(numbers)
    db.forget_words(numbers)
    db.run(f"DELETE FROM task_attempt WHERE {db.any_of('task')}", listed)
    db.run(f"DELETE FROM task_log WHERE {db.any_of('task')}", listed)
    db.run(f"DELETE FROM task_dep WHERE {db.any_of('parent')}", listed)
    db.run(f"DELETE FROM task_dep WHERE {db.any_of('child')}", listed)
    db.run(f"DELETE FROM task WHERE {db.any_of('number')}", listed)


_NEEDED = "EXISTS (SELECT 1 FROM task_dep d JOIN task c ON c.number = d.child WHERE d.parent = task.number AND c.finished_at IS NULL)"


def needed_by_children(db: TaskTransaction, numbers: Sequence[int]) -> set[int]:
    """Those of which a child is not over: it may use their results."""
    if not numbers:
        return set()
    statement = f"SELECT number FROM task WHERE {db.any_of('number')} AND has_children = 1 AND {_NEEDED}"
    return {row[0] for row in db.rows(statement, db.listed(numbers))}


def delete_kept(db: TaskTransaction, limit: int, now: float) -> int:
    skip = f"{db.lock} SKIP LOCKED" if db.lock else ""
    rows = db.rows(
        "SELECT number FROM task WHERE delete_at IS NOT NULL AND delete_at <= ? "
        f"AND NOT (has_children = 1 AND {_NEEDED}) ORDER BY delete_at LIMIT ?{skip}",
        now,
        limit,
    )
    # Once more, now that no one can add a child to them.
    numbers = [row[0] for row in rows]
    needed = needed_by_children(db, numbers)
    if numbers:
        forget(db, [number for number in numbers if number not in needed])
    return len(numbers)


def due_schedules(db: TaskTransaction, limit: int, now: float) -> list[Schedule]:
    query = f"SELECT {SCHEDULE} FROM schedule WHERE next_at IS NOT NULL AND next_at <= ? AND paused = 0 ORDER BY next_at LIMIT ?"
    return [schedule_of(row) for row in db.rows(query, now, limit)]


def move_on(db: TaskTransaction, schedule: Schedule, next_at: float | None) -> bool:
    """The process that moves it from its `next_at` fires it; no other does."""
    return (
        db.run(
            "UPDATE schedule SET next_at = ?, last_at = ? WHERE id = ? AND next_at = ? AND paused = 0 AND cron = ? AND task = ?",
            next_at,
            schedule.next_at,
            schedule.id,
            schedule.next_at,
            schedule.cron,
            schedule.task,
        )
        == 1
    )
