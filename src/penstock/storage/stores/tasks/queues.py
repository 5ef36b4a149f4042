"""Queues of an organisation: their limits, and what is in them."""

from collections.abc import Collection

from penstock.domain.durable.queues import QUEUE_HEAD_START_SECONDS, QueueLimits, QueueState
from penstock.domain.durable.schedules import Schedule
from penstock.domain.durable.tasks import TaskStatus
from penstock.storage.stores.tasks import schema
from penstock.storage.stores.tasks.rows import HELD, HOT_STATUSES, SCHEDULE, schedule_of
from penstock.storage.stores.tasks.transaction import TaskTransaction

Place = tuple[str, str]
"""Organisation and concurrency key."""
_MOST_AT_ONCE = 1000


def limit(db: TaskTransaction, org_id: str, queue: str, limits: QueueLimits) -> None:
    """A change leaves the starts that the rate has spent."""
    found = db.row("SELECT next_start_at FROM task_queue WHERE org_id = ? AND queue = ?", org_id, queue)
    db.run("DELETE FROM task_queue WHERE org_id = ? AND queue = ?", org_id, queue)
    if limits == QueueLimits():
        return
    row = {
        "org_id": org_id,
        "queue": queue,
        "paused": int(limits.paused),
        "max_running": limits.max_running,
        "rate_per_second": limits.rate_per_second,
        "next_start_at": found[0] if found else 0.0,
    }
    db.insert(schema.task_queue, [row])


def bounded(db: TaskTransaction, places: Collection[tuple[str, str]]) -> set[str]:
    """Of these queues, each with its organisation, those in which only so many run at a time: others wait for a place that is freed."""
    if not places:
        return set()
    statement = f"SELECT org_id, queue FROM task_queue WHERE {db.any_of('org_id')} AND {db.any_of('queue')} AND max_running IS NOT NULL"
    rows = db.rows(statement, db.listed({org_id for org_id, _ in places}), db.listed({queue for _, queue in places}))
    return {queue for org_id, queue in rows if (org_id, queue) in places}


def admit(db: TaskTransaction, places: Collection[Place]) -> set[str]:
    """Make ready what has a place now, in the order of the queue; the queues in which something is.

    Called at the end of every transaction that adds to one of these keys or takes from it: the lock makes the next one wait.
    """
    if not places:
        return set()
    wanted = sorted(set(places))
    db.lock_names([f"{org_id}/{key}" for org_id, key in wanted])
    taken = _taken(db, wanted)
    chosen: list[int] = []
    ready: set[str] = set()
    for org_id, key in wanted:
        waiting = db.rows(
            "SELECT task, queue, max_per_key FROM task_hot WHERE org_id = ? AND concurrency_key = ? AND state = ? "
            f"ORDER BY sort_key, task LIMIT ?{db.lock}",
            org_id,
            key,
            HELD,
            _MOST_AT_ONCE,
        )
        running = taken.get((org_id, key), 0)
        for task, queue, most in waiting:
            if running >= most:
                break
            running += 1
            chosen.append(task)
            ready.add(queue)
    if chosen:
        db.run(f"UPDATE task_hot SET state = 1 WHERE {db.any_of('task')}", db.listed(sorted(chosen)))
    return ready


def _taken(db: TaskTransaction, places: Collection[Place]) -> dict[Place, int]:
    rows = db.rows(
        "SELECT org_id, concurrency_key, count(*) FROM task_hot "
        f"WHERE {db.any_of('org_id')} AND {db.any_of('concurrency_key')} AND concurrency_key IS NOT NULL AND state IN (1, 2) "
        "GROUP BY org_id, concurrency_key",
        db.listed(sorted({org_id for org_id, _ in places})),
        db.listed(sorted({key for _, key in places})),
    )
    return {(org_id, key): count for org_id, key, count in rows}


def states(db: TaskTransaction, org_id: str) -> list[QueueState]:
    """The queues of an organisation with the number of their tasks in each state; those with limits but no tasks too."""
    limits = {
        queue: QueueLimits(bool(paused), max_running, rate)
        for queue, paused, max_running, rate in db.rows(
            "SELECT queue, paused, max_running, rate_per_second FROM task_queue WHERE org_id = ?", org_id
        )
    }
    counts: dict[str, dict[TaskStatus, int]] = {queue: {} for queue in (*limits, *QUEUE_HEAD_START_SECONDS)}
    oldest: dict[str, float] = {}
    for queue, state, count, since in db.rows(
        "SELECT queue, state, count(*), min(ready_at) FROM task_hot WHERE org_id = ? GROUP BY queue, state", org_id
    ):
        status, of_queue = HOT_STATUSES[state], counts.setdefault(queue, {})
        of_queue[status] = of_queue.get(status, 0) + count
        if status is TaskStatus.READY:
            oldest[queue] = min(since, oldest.get(queue, since))
    for queue, count in db.rows("SELECT queue, count(*) FROM task WHERE org_id = ? AND status = 'blocked' GROUP BY queue", org_id):
        counts.setdefault(queue, {})[TaskStatus.BLOCKED] = count
    return [
        QueueState(
            name=queue,
            limits=limits.get(queue, QueueLimits()),
            blocked=found.get(TaskStatus.BLOCKED, 0),
            scheduled=found.get(TaskStatus.SCHEDULED, 0),
            ready=found.get(TaskStatus.READY, 0),
            running=found.get(TaskStatus.RUNNING, 0),
            oldest_ready_at=oldest.get(queue),
        )
        for queue, found in sorted(counts.items())
    ]


def save_schedule(db: TaskTransaction, schedule: Schedule) -> None:
    """Insert, or replace the one of that id."""
    db.run("DELETE FROM schedule WHERE id = ?", schedule.id)
    row = {
        "id": schedule.id,
        "org_id": schedule.org_id,
        "key_id": schedule.key_id,
        "name": schedule.name,
        "cron": schedule.cron,
        "time_zone": schedule.time_zone,
        "missed": schedule.missed.value,
        "task": schedule.task,
        "created_at": schedule.created_at,
        "next_at": schedule.next_at,
        "last_at": schedule.last_at,
        "paused": int(schedule.paused),
    }
    db.insert(schema.schedule, [row])


def schedule(db: TaskTransaction, org_id: str, schedule_id: str) -> Schedule | None:
    row = db.row(f"SELECT {SCHEDULE} FROM schedule WHERE id = ? AND org_id = ?", schedule_id, org_id)
    return None if row is None else schedule_of(row)


def schedules(db: TaskTransaction, org_id: str) -> list[Schedule]:
    return [schedule_of(row) for row in db.rows(f"SELECT {SCHEDULE} FROM schedule WHERE org_id = ? ORDER BY name", org_id)]


def remove_schedule(db: TaskTransaction, org_id: str, schedule_id: str) -> bool:
    return db.run("DELETE FROM schedule WHERE id = ? AND org_id = ?", schedule_id, org_id) > 0


def stored_tasks(db: TaskTransaction, org_id: str, most: int) -> int:
    row = db.row("SELECT count(*) FROM (SELECT 1 FROM task WHERE org_id = ? LIMIT ?) AS found", org_id, most)
    return int(row[0]) if row else 0
