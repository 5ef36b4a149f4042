"""What people do to tasks, many at a time: cancel, delete, put before others. `retry.py` runs them again."""

from collections.abc import Sequence

from penstock.domain.durable.queues import PRIORITY_HEAD_START_SECONDS
from penstock.domain.durable.tasks import TERMINAL, TaskStatus
from penstock.domain.ids import task_id
from penstock.storage.stores.tasks.finish import CANCELLED
from penstock.storage.stores.tasks.rows import HOT, HOT_STATUSES, RUNNING, listed_numbers
from penstock.storage.stores.tasks.sweep import end_unstarted, forget, needed_by_children
from penstock.storage.stores.tasks.transaction import Row, TaskTransaction

_OVER = frozenset(status.value for status in TERMINAL)


def cancel(db: TaskTransaction, org_id: str, ids: Sequence[str], now: float) -> tuple[dict[str, TaskStatus], set[str], bool]:
    """The status of each now, the queues in which a child is ready now, and whether a runner must be told."""
    found = _locked(db, org_id, ids, "number, status")
    states = _states(db, [row[0] for row in found if row[1] == HOT])
    running = [number for number, state in states.items() if state == RUNNING]
    waiting = [number for number, status in found if status == TaskStatus.BLOCKED or states.get(number, RUNNING) != RUNNING]
    ready = end_unstarted(db, waiting, TaskStatus.CANCELLED, CANCELLED, now) if waiting else set()
    if running:
        db.run(f"UPDATE task_hot SET cancel = 1 WHERE {db.any_of('task')}", db.listed(running))
    statuses = {task_id(number): HOT_STATUSES[states[number]] if status == HOT else TaskStatus(status) for number, status in found}
    return statuses | {task_id(number): TaskStatus.CANCELLED for number in waiting}, ready, bool(running)


def delete(db: TaskTransaction, org_id: str, ids: Sequence[str]) -> list[str]:
    """Those that were over, and that no child waits for."""
    over = [number for number, status in _locked(db, org_id, ids, "number, status") if status in _OVER]
    needed = needed_by_children(db, over)
    numbers = [number for number in over if number not in needed]
    if numbers:
        forget(db, numbers)
    return [task_id(number) for number in numbers]


def reprioritise(db: TaskTransaction, org_id: str, ids: Sequence[str], priority: int) -> list[str]:
    found = _locked(db, org_id, ids, "number, status, priority")
    states = _states(db, [row[0] for row in found if row[1] == HOT])
    waiting = [(n, old) for n, status, old in found if status == TaskStatus.BLOCKED or states.get(n, RUNNING) != RUNNING]
    for old in sorted({old for _, old in waiting}):
        gained = (priority - old) * PRIORITY_HEAD_START_SECONDS
        db.run(
            "UPDATE task_hot SET sort_key = sort_key - ?, head_start_seconds = head_start_seconds + ? "
            f"WHERE {db.any_of('task')} AND state < 2",
            int(gained * 1000),
            gained,
            db.listed(number for number, before in waiting if before == old),
        )
    db.run(f"UPDATE task SET priority = ? WHERE {db.any_of('number')}", priority, db.listed(number for number, _ in waiting))
    return [task_id(number) for number, _ in waiting]


def _locked(db: TaskTransaction, org_id: str, ids: Sequence[str], columns: str) -> list[Row]:
    # The hot row first, then the task: in the order in which leases are ended.
    numbers = listed_numbers(ids)
    if db.lock:
        db.rows(f"SELECT task FROM task_hot WHERE {db.any_of('task')} ORDER BY task{db.lock}", db.listed(numbers))
    query = f"SELECT {columns} FROM task WHERE {db.any_of('number')} AND org_id = ? ORDER BY number{db.lock}"
    return db.rows(query, db.listed(numbers), org_id)


def _states(db: TaskTransaction, numbers: Sequence[int]) -> dict[int, int]:
    if not numbers:
        return {}
    rows = db.rows(f"SELECT task, state FROM task_hot WHERE {db.any_of('task')}", db.listed(numbers))
    return {row[0]: row[1] for row in rows}
