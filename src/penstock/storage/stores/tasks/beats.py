"""Runners: who there is, who lives, what they hold."""

from collections.abc import Sequence

from penstock.domain.durable.leases import (
    LEASE_SECONDS,
    LOST_CLAIM_SECONDS,
    AttemptOutput,
    ExpiredLease,
    HeartbeatReply,
    LeaseRef,
    ProgressReport,
    RunnerRecord,
)
from penstock.domain.ids import task_id
from penstock.storage.stores.tasks import schema
from penstock.storage.stores.tasks.finish import give_back, held_by
from penstock.storage.stores.tasks.rows import RUNNER, number_of, runner_of, texts
from penstock.storage.stores.tasks.transaction import Row, TaskTransaction

_GRACE_SECONDS = 10.0
"""Beyond its own time-out, for a runner that ends its task itself and says so."""


def register(db: TaskTransaction, runner: RunnerRecord, now: float) -> None:
    """Insert the runner, or replace the one of that id; its last beat is now."""
    db.run("DELETE FROM runner WHERE id = ?", runner.id)
    row = {
        "id": runner.id,
        "name": runner.name,
        "org_id": runner.org_id,
        "queues": texts(runner.queues),
        "slots": runner.slots,
        "kinds": texts(runner.kinds),
        "functions": runner.functions,
        "version": runner.version,
        "identity": runner.identity.hex(),
        "joined_at": runner.joined_at or now,
        "last_beat_at": now,
        "draining": int(runner.draining),
        "token_id": runner.token_id,
    }
    db.insert(schema.runner, [row])


def beat(
    db: TaskTransaction, runner_id: str, held: Sequence[LeaseRef], waiting: Sequence[LeaseRef], now: float
) -> tuple[HeartbeatReply, set[str]]:
    """The answer, and the queues in which something is ready again."""
    found = db.rows("UPDATE runner SET last_beat_at = ? WHERE id = ? RETURNING draining", now, runner_id)
    if not found:
        return HeartbeatReply(False, False, (), tuple(held)), set()
    leases = {(task_id(lease.task), lease.lease_seq): lease for lease in held_by(db, runner_id)}
    named = {(one.task_id, one.lease_seq) for one in held}
    cancelled = tuple(one for one in held if (lease := leases.get((one.task_id, one.lease_seq))) is not None and lease.cancel)
    unbegun = [leases[key].task for key in {(one.task_id, one.lease_seq) for one in waiting} & leases.keys()]
    if unbegun:
        db.run(f"UPDATE task_hot SET started_at = ? WHERE {db.any_of('task')}", now, db.listed(unbegun))
    lost = tuple(one for one in held if (one.task_id, one.lease_seq) not in leases)
    unclaimed = [lease for key, lease in leases.items() if key not in named and lease.started_at <= now - LOST_CLAIM_SECONDS]
    return HeartbeatReply(True, bool(found[0][0]), cancelled, lost), give_back(db, unclaimed, now)


def report(db: TaskTransaction, runner_id: str, reports: Sequence[ProgressReport]) -> None:
    held = "task = ? AND lease_seq = ? AND runner_id = ? AND state = 2"
    for one in sorted(reports, key=lambda one: one.task_id):
        lease = (number_of(one.task_id), one.lease_seq, runner_id)
        if one.progress:
            db.run(f"UPDATE task_hot SET progress = ? WHERE {held}", one.progress, *lease)
        if one.output is not None and (row := db.row(f"SELECT attempt, started_at FROM task_hot WHERE {held}{db.lock}", *lease)):
            _keep_output(db, lease, row, one.output)


def _keep_output(db: TaskTransaction, lease: tuple[int, int, str], row: Row, output: AttemptOutput) -> None:
    number, lease_seq, runner_id = lease
    db.run(
        "INSERT INTO task_log (task, lease_seq, number, runner_id, started_at, text, left_out_bytes) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (task, lease_seq) DO UPDATE SET text = excluded.text, left_out_bytes = excluded.left_out_bytes",
        number,
        lease_seq,
        row[0],
        runner_id,
        row[1],
        output.text,
        output.left_out_bytes,
    )


def note_resolving(db: TaskTransaction, runner_id: str, lease: LeaseRef) -> int:
    """How many notes there were before this one."""
    noted = db.rows(f"UPDATE task_hot SET losses = losses + 1 WHERE {_LEASE} RETURNING losses", *_lease(runner_id, lease))
    return int(noted[0][0]) - 1 if noted else 0


def note_resolved(db: TaskTransaction, runner_id: str, lease: LeaseRef) -> None:
    db.run(f"UPDATE task_hot SET losses = 0 WHERE {_LEASE}", *_lease(runner_id, lease))


_LEASE = "task = ? AND lease_seq = ? AND runner_id = ? AND state = 2"


def _lease(runner_id: str, lease: LeaseRef) -> tuple[int, int, str]:
    return number_of(lease.task_id), lease.lease_seq, runner_id


def holds(db: TaskTransaction, runner_id: str, id_: str, lease_seq: int) -> bool:
    statement = (
        "SELECT 1 FROM task_hot h JOIN runner r ON r.id = h.runner_id "
        "WHERE h.task = ? AND h.lease_seq = ? AND h.runner_id = ? AND h.state = 2"
    )
    return db.row(statement, number_of(id_), lease_seq, runner_id) is not None


def forget(db: TaskTransaction, runner_id: str, now: float) -> tuple[int, set[str]]:
    """How many leases it still held, and the queues in which something is ready again."""
    leases = held_by(db, runner_id)
    ready = give_back(db, leases, now)
    db.run("DELETE FROM runner WHERE id = ?", runner_id)
    return len(leases), ready


def forget_silent(db: TaskTransaction, before: float) -> int:
    held = "EXISTS (SELECT 1 FROM task_hot h WHERE h.state = 2 AND h.runner_id = runner.id)"
    return db.run(f"DELETE FROM runner WHERE last_beat_at < ? AND NOT {held}", before)


def expired(db: TaskTransaction, limit: int, now: float) -> list[ExpiredLease]:
    """Leases whose runner is silent or unknown, or whose time is up and whose runner did not end them."""
    silent = "(r.id IS NULL OR r.last_beat_at < ?)"
    rows = db.rows(
        "SELECT h.task, h.lease_seq, h.runner_id, h.attempt, t.max_attempts, t.backoff_seconds, t.backoff_cap_seconds, t.kind, h.cancel, "
        f"CASE WHEN {silent} THEN 1 ELSE 0 END FROM task_hot h JOIN task t ON t.number = h.task LEFT JOIN runner r ON r.id = h.runner_id "
        f"WHERE h.state = 2 AND ({silent} OR h.started_at + h.timeout_seconds < ?) ORDER BY h.task LIMIT ?",
        now - LEASE_SECONDS,
        now - LEASE_SECONDS,
        now - _GRACE_SECONDS,
        limit,
    )
    return [
        ExpiredLease(
            task_id=task_id(number),
            lease_seq=lease_seq,
            runner_id=runner_id,
            attempt=attempt,
            max_attempts=max_attempts,
            backoff_seconds=backoff,
            backoff_cap_seconds=cap,
            kind=kind,
            cancel_requested=bool(cancel),
            reason="lease_lost" if lost else "timeout",
        )
        for number, lease_seq, runner_id, attempt, max_attempts, backoff, cap, kind, cancel, lost in rows
    ]


def runners(db: TaskTransaction) -> list[RunnerRecord]:
    held = {row[0]: row[1] for row in db.rows("SELECT runner_id, count(*) FROM task_hot WHERE state = 2 GROUP BY runner_id")}
    return [runner_of(row, held.get(row[0], 0)) for row in db.rows(f"SELECT {RUNNER} FROM runner ORDER BY id")]


def runner(db: TaskTransaction, runner_id: str) -> RunnerRecord | None:
    row = db.row(f"SELECT {RUNNER} FROM runner WHERE id = ?", runner_id)
    if row is None:
        return None
    held = db.row("SELECT count(*) FROM task_hot WHERE state = 2 AND runner_id = ?", runner_id)
    return runner_of(row, held[0] if held else 0)
