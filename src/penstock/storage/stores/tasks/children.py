"""What the end of a task means to those that wait for it: in the transaction that ends it, down to the last grandchild."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.domain.durable.tasks import OnParentFailure, TaskError, TaskStatus
from penstock.storage.stores.tasks import schema
from penstock.storage.stores.tasks.minutes import Ended
from penstock.storage.stores.tasks.queues import Place
from penstock.storage.stores.tasks.rows import HOT, given_hot
from penstock.storage.stores.tasks.transaction import Given, TaskTransaction

PARENT_FAILED = TaskError("parent_failed", "A task that this one waits for did not succeed.")
_COLUMNS = (
    "number", "org_id", "queue", "kind", "name", "priority", "run_at", "expires_at", "keep_seconds", "timeout_seconds",
    "attempt", "lease_seq", "pending_parents", "has_children", "concurrency_key", "max_per_key",
)  # fmt: skip


@dataclass(slots=True)
class Settled:
    """What became of children."""

    ready: set[str] = field(default_factory=set)
    """Queues in which one of them is ready now."""
    ended: list[Ended] = field(default_factory=list)
    places: set[Place] = field(default_factory=set)
    """In which one of them waits now, for `queues.admit`."""


def status_after_parent(parent: TaskStatus, policy: OnParentFailure) -> TaskStatus | None:
    """How a child ends because its parent ended so; None: it does not."""
    if parent is TaskStatus.SUCCEEDED or policy is OnParentFailure.RUN:
        return None
    return TaskStatus.FAILED if policy is OnParentFailure.FAIL else TaskStatus.SKIPPED


def settle(db: TaskTransaction, parents: Mapping[int, TaskStatus], now: float) -> Settled:
    """Tell the children of tasks that have just ended."""
    settled, ended = Settled(), dict(parents)
    while ended:
        ended = _generation(db, ended, settled, now)
    return settled


def _generation(db: TaskTransaction, parents: Mapping[int, TaskStatus], settled: Settled, now: float) -> dict[int, TaskStatus]:
    """Settle the children; those that ended are the parents of the next generation, as far as they have children."""
    unsettled = f"{db.any_of('parent')} AND settled = 0"
    deps = db.rows(f"SELECT parent, child, on_failure FROM task_dep WHERE {unsettled}", db.listed(parents))
    db.run(f"UPDATE task_dep SET settled = 1 WHERE {unsettled}", db.listed(parents))
    waiting = _waiting(db, sorted({child for _, child, _ in deps}))
    over: Counter[int] = Counter()
    statuses: dict[int, TaskStatus] = {}
    for parent, child, policy in deps:
        over[child] += 1
        decided = status_after_parent(parents[parent], OnParentFailure(policy))
        if decided is not None and statuses.get(child) is not TaskStatus.FAILED:
            statuses[child] = decided
    rows = [(row, statuses.get(number)) for number, row in waiting.items()]
    _end(db, [(row, decided) for row, decided in rows if decided is not None], now)
    _go_on(db, [(row, over[row["number"]]) for row, decided in rows if decided is None], settled, now)
    settled.ended += [Ended(row["org_id"], row["queue"], decided) for row, decided in rows if decided is not None]
    return {row["number"]: decided for row, decided in rows if decided is not None and row["has_children"]}


def _waiting(db: TaskTransaction, children: list[int]) -> dict[int, Given]:
    if not children:
        return {}
    query = f"SELECT {', '.join(_COLUMNS)} FROM task WHERE {db.any_of('number')} AND status = 'blocked' ORDER BY number{db.lock}"
    return {row[0]: dict(zip(_COLUMNS, row, strict=True)) for row in db.rows(query, db.listed(children))}


def _end(db: TaskTransaction, children: list[tuple[Given, TaskStatus]], now: float) -> None:
    updates = [
        {
            "number": row["number"],
            "status": decided.value,
            "finished_at": now,
            "pending_parents": 0,
            "delete_at": None if row["keep_seconds"] is None else now + row["keep_seconds"],
            "error_code": PARENT_FAILED.code,
            "error_message": PARENT_FAILED.message,
        }
        for row, decided in children
    ]
    db.update(schema.task, "number", updates)


def _go_on(db: TaskTransaction, children: list[tuple[Given, int]], settled: Settled, now: float) -> None:
    """One parent fewer, or a few; without any left a child waits for a runner, or for its time."""
    free = [row for row, over in children if row["pending_parents"] <= over]
    still = [(row, over) for row, over in children if row["pending_parents"] > over]
    left = [{"number": row["number"], "pending_parents": row["pending_parents"] - over} for row, over in still]
    db.update(schema.task, "number", left)
    db.update(schema.task, "number", [{"number": row["number"], "status": HOT, "pending_parents": 0} for row in free])
    hot = [given_hot(row, max(now, row["run_at"]), now) for row in free]
    db.insert(schema.task_hot, hot)
    settled.ready |= {row["queue"] for row in hot if row["ready_at"] <= now}
    settled.places |= {(row["org_id"], row["concurrency_key"]) for row in hot if row["concurrency_key"] is not None}
