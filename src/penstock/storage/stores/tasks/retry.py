"""Running tasks again: behind their parents, as at their submission, and together with those that failed because of them."""

from collections.abc import Iterable, Sequence

from penstock.domain.durable.tasks import TERMINAL, CompletionKind, OnParentFailure, TaskStatus
from penstock.domain.ids import task_id
from penstock.storage.stores.tasks import schema
from penstock.storage.stores.tasks.children import PARENT_FAILED, status_after_parent
from penstock.storage.stores.tasks.queues import admit
from penstock.storage.stores.tasks.rows import HOT, given_hot, listed_numbers
from penstock.storage.stores.tasks.transaction import Given, TaskTransaction

_OVER = frozenset(status.value for status in TERMINAL)
_COLUMNS = (
    "number", "status", "org_id", "queue", "kind", "name", "priority", "timeout_seconds", "attempt", "lease_seq",
    "runner_id", "started_at", "finished_at", "error_code", "error_message", "concurrency_key", "max_per_key", "unique_key",
)  # fmt: skip
_OUTCOMES = {
    TaskStatus.SUCCEEDED.value: CompletionKind.SUCCEEDED,
    TaskStatus.FAILED.value: CompletionKind.FAILED,
    TaskStatus.CANCELLED.value: CompletionKind.CANCELLED,
}
_Edges = dict[int, dict[int, OnParentFailure]]
"""By child and parent."""


def retry(
    db: TaskTransaction, org_id: str, ids: Sequence[str], with_dependents: bool, now: float
) -> tuple[dict[str, TaskStatus], set[str]]:
    """The status of those that run again, and the queues in which they are ready.

    A task waits again for parents that are not over or run again themselves. One whose parent has failed for good would fail at once,
    and stays as it is.
    """
    numbers = listed_numbers(ids)
    if with_dependents:
        numbers = sorted({*numbers, *_failed_with(db, org_id, numbers)})
    edges = _edges(db, numbers)
    parents = sorted({parent for of_child in edges.values() for parent in of_child})
    rows, statuses = _locked(db, org_id, numbers, parents)
    over = {number: row for number, row in rows.items() if row["status"] in _OVER}
    again = _runnable(over.keys() - _key_taken(db, org_id, over), edges, statuses)
    pending = {
        number: [parent for parent in edges.get(number, ()) if parent in again or statuses.get(parent) in (HOT, TaskStatus.BLOCKED)]
        for number in sorted(again)
    }
    _write(db, [rows[number] for number in pending], pending, now)
    found = {task_id(number): TaskStatus.BLOCKED if behind else TaskStatus.READY for number, behind in pending.items()}
    free = [rows[number] for number, behind in pending.items() if not behind]
    admitted = admit(db, {(row["org_id"], row["concurrency_key"]) for row in free if row["concurrency_key"] is not None})
    return found, admitted | {row["queue"] for row in free}


def _failed_with(db: TaskTransaction, org_id: str, numbers: Iterable[int]) -> set[int]:
    """Those that never ran because one of these did not succeed, down to the last grandchild."""
    found: set[int] = set()
    generation = set(numbers)
    while generation:
        rows = db.rows(
            f"SELECT DISTINCT d.child FROM task_dep d JOIN task t ON t.number = d.child WHERE {db.any_of('d.parent')} "
            "AND t.org_id = ? AND t.error_code = ? AND t.status IN ('failed', 'skipped')",
            db.listed(sorted(generation)),
            org_id,
            PARENT_FAILED.code,
        )
        generation = {row[0] for row in rows} - found
        found |= generation
    return found


def _edges(db: TaskTransaction, numbers: Sequence[int]) -> _Edges:
    found: _Edges = {}
    statement = f"SELECT child, parent, on_failure FROM task_dep WHERE {db.any_of('child')} ORDER BY child, place"
    for child, parent, policy in db.rows(statement, db.listed(numbers)):
        found.setdefault(child, {})[parent] = OnParentFailure(policy)
    return found


def _locked(db: TaskTransaction, org_id: str, numbers: Sequence[int], parents: Sequence[int]) -> tuple[dict[int, Given], dict[int, str]]:
    """The tasks, and the status of each of them and of their parents: none of these ends before this transaction does."""
    everything = sorted({*numbers, *parents})
    if db.lock:
        db.rows(f"SELECT task FROM task_hot WHERE {db.any_of('task')} ORDER BY task{db.lock}", db.listed(everything))
    query = f"SELECT {', '.join(_COLUMNS)} FROM task WHERE {db.any_of('number')} AND org_id = ? ORDER BY number{db.lock}"
    rows = {row[0]: dict(zip(_COLUMNS, row, strict=True)) for row in db.rows(query, db.listed(everything), org_id)}
    wanted = set(numbers)
    return {n: row for n, row in rows.items() if n in wanted}, {n: row["status"] for n, row in rows.items()}


def _key_taken(db: TaskTransaction, org_id: str, over: dict[int, Given]) -> set[int]:
    """Those whose unique key another task has that is not over, or an earlier one of these."""
    keyed = {number: row["unique_key"] for number, row in sorted(over.items()) if row["unique_key"] is not None}
    if not keyed:
        return set()
    query = f"SELECT unique_key FROM task WHERE org_id = ? AND {db.any_of('unique_key')} AND unique_key IS NOT NULL AND finished_at IS NULL"
    taken = {row[0] for row in db.rows(query, org_id, db.listed(sorted(set(keyed.values()))))}
    found = set()
    for number, key in keyed.items():
        if key in taken:
            found.add(number)
        taken.add(key)
    return found


def _runnable(over: set[int], edges: _Edges, statuses: dict[int, str]) -> set[int]:
    """Those that no parent decides at once: a parent that runs again, too, decides nothing yet."""
    again = set(over)
    children: dict[int, list[int]] = {}
    for child in over:
        for parent in edges.get(child, ()):
            children.setdefault(parent, []).append(child)
    decided = [parent for parent in children if parent not in again and statuses.get(parent) in _OVER]
    while decided:
        parent = decided.pop()
        for child in children.get(parent, ()):
            if child in again and status_after_parent(TaskStatus(statuses[parent]), edges[child][parent]) is not None:
                again.discard(child)
                decided.append(child)
    return again


def _write(db: TaskTransaction, rows: list[Given], pending: dict[int, list[int]], now: float) -> None:
    db.insert(schema.task_attempt, [_past(row) for row in rows if row["started_at"] is not None])
    again: Given = {
        "run_at": now, "started_at": None, "finished_at": None, "delete_at": None, "expires_at": None, "attempt": 0, "runner_id": "",
        "result": None, "error_code": None, "error_message": None,
    }  # fmt: skip
    updates = [
        {
            "number": row["number"],
            "status": TaskStatus.BLOCKED.value if pending[row["number"]] else HOT,
            "pending_parents": len(pending[row["number"]]),
            **again,
        }
        for row in rows
    ]
    db.update(schema.task, "number", updates)
    free = [row for row in rows if not pending[row["number"]]]
    db.insert(schema.task_hot, [given_hot(row | {"attempt": 0, "expires_at": None}, now, now) for row in free])
    children = db.listed(row["number"] for row in rows)
    db.run(f"UPDATE task_dep SET settled = 1 WHERE {db.any_of('child')}", children)
    waited_for = sorted({parent for behind in pending.values() for parent in behind})
    if waited_for:
        # Each of them is not over, so that every one of these children waits for it.
        db.run(f"UPDATE task_dep SET settled = 0 WHERE {db.any_of('child')} AND {db.any_of('parent')}", children, db.listed(waited_for))


def _past(row: Given) -> Given:
    """The last attempt of a task that is over, before it is run again."""
    return {
        "task": row["number"],
        "lease_seq": row["lease_seq"],
        "number": row["attempt"],
        "runner_id": row["runner_id"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
        "outcome": _OUTCOMES[row["status"]].value,
        "error_code": row["error_code"],
        "error_message": row["error_message"],
    }
