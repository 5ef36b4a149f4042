"""One task with everything around it, and whole graphs."""

from collections.abc import Collection

from penstock.domain.durable.tasks import (
    CompletionKind,
    Dag,
    OnParentFailure,
    ParentResult,
    RelatedTask,
    Task,
    TaskAttempt,
    TaskDetail,
    TaskLog,
    TaskStatus,
)
from penstock.domain.errors import TooLarge
from penstock.domain.ids import task_id
from penstock.storage.stores.tasks.rows import BODIES, FROM, HOT, HOT_STATUSES, TASK, attempt_of, number_of, task_of
from penstock.storage.stores.tasks.transaction import Row, TaskTransaction

_MOST_CHILDREN = 1000
_MOST_OF_DAG = 10_000
_RESULTS_AT_ONCE = 20
_RELATIVE = "t.number, t.name, t.status, h.state, d.on_failure"
_OUTCOMES = {
    TaskStatus.SUCCEEDED: CompletionKind.SUCCEEDED,
    TaskStatus.FAILED: CompletionKind.FAILED,
    TaskStatus.CANCELLED: CompletionKind.CANCELLED,
}


def detail(db: TaskTransaction, org_id: str, id_: str) -> TaskDetail | None:
    number = number_of(id_)
    row = db.row(f"SELECT {TASK}, {BODIES} {FROM} WHERE t.number = ? AND t.org_id = ?", number, org_id)
    if row is None:
        return None
    task = task_of(row)
    around = "FROM task_dep d JOIN task t ON t.number = d.{} LEFT JOIN task_hot h ON h.task = t.number WHERE d.{} = ? ORDER BY {} LIMIT ?"
    parents = db.rows(f"SELECT {_RELATIVE} {around.format('parent', 'child', 'd.place')}", number, _MOST_CHILDREN)
    children = db.rows(f"SELECT {_RELATIVE} {around.format('child', 'parent', 'd.child')}", number, _MOST_CHILDREN)
    return TaskDetail(task, tuple(map(_relative, parents)), tuple(map(_relative, children)), (*_past(db, number), *_last(task)))


def logs(db: TaskTransaction, org_id: str, id_: str) -> list[TaskLog] | None:
    number = number_of(id_)
    if db.row("SELECT 1 FROM task WHERE number = ? AND org_id = ?", number, org_id) is None:
        return None
    columns = "number, runner_id, started_at, text, left_out_bytes"
    rows = db.rows(f"SELECT {columns} FROM task_log WHERE task = ? ORDER BY lease_seq", number)
    return [
        TaskLog(attempt=attempt, runner_id=runner_id, started_at=started_at, text=text, left_out_bytes=left_out)
        for attempt, runner_id, started_at, text, left_out in rows
    ]


def parent_results(db: TaskTransaction, id_: str, ids: Collection[str] | None, most_characters: int | None) -> list[ParentResult]:
    """A few results at a time, so that no more of them are read than there may be. Raises TooLarge."""
    rows = db.rows(
        "SELECT t.number, t.name, t.status, h.state FROM task_dep d JOIN task t ON t.number = d.parent "
        "LEFT JOIN task_hot h ON h.task = t.number WHERE d.child = ? ORDER BY d.place",
        number_of(id_),
    )
    wanted = None if ids is None else set(map(number_of, ids))
    rows = [row for row in rows if wanted is None or row[0] in wanted]
    results: dict[int, str | None] = {}
    size = 0
    for start in range(0, len(rows), _RESULTS_AT_ONCE):
        part = [row[0] for row in rows[start : start + _RESULTS_AT_ONCE]]
        found: dict[int, str | None] = dict(db.rows(f"SELECT number, result FROM task WHERE {db.any_of('number')}", db.listed(part)))
        size += sum(len(result or "") for result in found.values())
        if most_characters is not None and size > most_characters:
            raise TooLarge(f"The results of the parents that the payload refers to have more than {most_characters} characters.")
        results |= found
    return [ParentResult(task_id(number), name, _status(status, state), results.get(number)) for number, name, status, state in rows]


def dag(db: TaskTransaction, org_id: str, id_: str) -> Dag | None:
    number = number_of(id_)
    where = "t.dag = ? AND t.org_id = ?"
    rows = db.rows(f"SELECT {TASK} {FROM} WHERE {where} ORDER BY t.number LIMIT ?", number, org_id, _MOST_OF_DAG)
    if not rows:
        return None
    edges = db.rows(
        f"SELECT d.parent, d.child, d.on_failure FROM task t JOIN task_dep d ON d.child = t.number WHERE {where} ORDER BY d.child, d.place",
        number,
        org_id,
    )
    dependencies = tuple((task_id(parent), task_id(child), OnParentFailure(policy)) for parent, child, policy in edges)
    return Dag(task_id(number), tuple(map(task_of, rows)), dependencies)


def dag_counts(db: TaskTransaction, org_id: str, id_: str) -> dict[TaskStatus, int]:
    rows = db.rows(
        f"SELECT t.status, h.state, count(*) {FROM} WHERE t.dag = ? AND t.org_id = ? GROUP BY t.status, h.state", number_of(id_), org_id
    )
    return {_status(status, state): count for status, state, count in rows}


def _past(db: TaskTransaction, number: int) -> list[TaskAttempt]:
    rows = db.rows(
        "SELECT number, runner_id, started_at, finished_at, outcome, error_code, error_message FROM task_attempt "
        "WHERE task = ? ORDER BY lease_seq",
        number,
    )
    return [attempt_of(row) for row in rows]


def _last(task: Task) -> list[TaskAttempt]:
    """The attempt that runs, or with which the task ended; it is part of the task's own row."""
    if task.started_at is None:
        return []
    over = task.status.is_terminal
    return [
        TaskAttempt(
            number=task.attempt,
            runner_id=task.runner_id,
            started_at=task.started_at,
            finished_at=task.finished_at if over else None,
            outcome=_OUTCOMES[task.status] if over else None,
            error=task.error if over else None,
        )
    ]


def _relative(row: Row) -> RelatedTask:
    number, name, status, state, policy = row
    return RelatedTask(task_id(number), name, _status(status, state), OnParentFailure(policy))


def _status(status: str, state: int | None) -> TaskStatus:
    return HOT_STATUSES[state] if status == HOT and state is not None else TaskStatus(status)
