"""Submitting tasks: all or none, each key once, behind its parents."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.domain.durable.tasks import Enqueued, NewTask, OnParentFailure, TaskStatus
from penstock.domain.errors import IdempotencyConflict, NotFound
from penstock.domain.ids import task_id
from penstock.storage.stores.tasks import schema
from penstock.storage.stores.tasks.children import PARENT_FAILED, status_after_parent
from penstock.storage.stores.tasks.minutes import Ended, note
from penstock.storage.stores.tasks.queues import admit
from penstock.storage.stores.tasks.rows import HOT, READY, given_hot, given_task, number_of
from penstock.storage.stores.tasks.search.words import called, of_json, org_word
from penstock.storage.stores.tasks.transaction import Given, TaskTransaction


@dataclass(slots=True)
class _Batch:
    """What one call writes."""

    tasks: dict[int, Given] = field(default_factory=dict)
    hot: list[Given] = field(default_factory=list)
    deps: list[Given] = field(default_factory=list)
    words: list[tuple[int, str, str]] = field(default_factory=list)


def enqueue(db: TaskTransaction, tasks: Sequence[NewTask], now: float) -> tuple[list[Enqueued], set[str]]:
    """What became of each, and the queues in which something is ready now."""
    numbers = {task.id: number_of(task.id) for task in tasks}
    known = _known(db, tasks)
    same = {task.id: known[key] for task in tasks if (key := _key(task)) in known}
    same |= _repeated(tasks, same)
    same |= _unfinished(db, tasks, same)
    numbers |= same
    parents = _parents(db, tasks, numbers, same)
    batch = _Batch()
    for task in tasks:
        if task.id not in same:
            _add(batch, task, numbers, parents, now)
    _write(db, batch)
    note(db, [Ended(row["org_id"], row["queue"], TaskStatus(row["status"])) for row in batch.tasks.values() if row["finished_at"]], now)
    found = [Enqueued(task_id(numbers[task.id]), task.id not in same) for task in tasks]
    admitted = admit(db, {(row["org_id"], row["concurrency_key"]) for row in batch.hot if row["concurrency_key"] is not None})
    return found, admitted | {row["queue"] for row in batch.hot if row["state"] == READY}


def _key(task: NewTask) -> tuple[str, str | None]:
    return task.org_id, task.idempotency_key


def _known(db: TaskTransaction, tasks: Sequence[NewTask]) -> dict[tuple[str, str | None], int]:
    """The tasks that are there already, by organisation and key. Raises IdempotencyConflict."""
    keyed = {_key(task): task for task in tasks if task.idempotency_key is not None}
    found: dict[tuple[str, str | None], int] = {}
    for org_id in sorted({org for org, _ in keyed}):
        keys = [key for org, key in keyed if org == org_id]
        query = f"SELECT idempotency_key, number, payload_hash FROM task WHERE org_id = ? AND {db.any_of('idempotency_key')}"
        for key, number, payload_hash in db.rows(query, org_id, db.listed(keys)):
            if not _repeats(payload_hash, keyed[org_id, key].payload_hash):
                raise IdempotencyConflict(
                    f"There is a task with the idempotency key {key!r}, and another payload or other options.", param="idempotency_key"
                )
            found[org_id, key] = number
    return found


_EARLIER_BYTES = 32


def _repeats(known: str, given: bytes) -> bool:
    """Whether a kept fingerprint is that of the same submission. One of an earlier version says too little to tell them apart."""
    return known == given.hex() or (len(known) == 2 * _EARLIER_BYTES < 2 * len(given))


def _repeated(tasks: Sequence[NewTask], same: dict[str, int]) -> dict[str, int]:
    """Keys that come twice in one call mean the first of the two. Raises IdempotencyConflict."""
    first: dict[tuple[str, str | None], NewTask] = {}
    repeated = {}
    for task in tasks:
        if task.idempotency_key is None or task.id in same:
            continue
        other = first.setdefault(_key(task), task)
        if other is task:
            continue
        if other.payload_hash != task.payload_hash:
            raise IdempotencyConflict(
                f"The idempotency key {task.idempotency_key!r} comes twice, with different payloads or options.", param="idempotency_key"
            )
        repeated[task.id] = number_of(other.id)
    return repeated


def _unfinished(db: TaskTransaction, tasks: Sequence[NewTask], same: dict[str, int]) -> dict[str, int]:
    """Tasks whose unique key a task has that is not over, or an earlier one of this call."""
    keyed = {(task.org_id, task.unique_key): task for task in tasks if task.unique_key is not None and task.id not in same}
    first: dict[tuple[str, str | None], int] = {}
    for org_id in sorted({org for org, _ in keyed}):
        condition = f"org_id = ? AND {db.any_of('unique_key')} AND unique_key IS NOT NULL AND finished_at IS NULL"
        query = f"SELECT unique_key, number FROM task WHERE {condition}"
        first |= {(org_id, key): number for key, number in db.rows(query, org_id, db.listed([key for org, key in keyed if org == org_id]))}
    found = {}
    for task in tasks:
        if task.unique_key is not None and task.id not in same:
            number = first.setdefault((task.org_id, task.unique_key), number_of(task.id))
            if number != number_of(task.id):
                found[task.id] = number
    return found


def _parents(db: TaskTransaction, tasks: Sequence[NewTask], numbers: dict[str, int], same: dict[str, int]) -> dict[int, str]:
    """The status of each parent that is in the store already; locked, and marked as one. Raises NotFound, ValueError."""
    seen: set[str] = set()
    outside: dict[int, NewTask] = {}
    for task in tasks:
        if task.id not in same:
            for parent in task.parents:
                if parent.id in same:
                    outside[same[parent.id]] = task
                elif parent.id not in seen:
                    if parent.id in numbers:
                        raise ValueError(f"parent {parent.id} comes after its child {task.id}")
                    outside[number_of(parent.id)] = task
        seen.add(task.id)
    new = {numbers[task.id] for task in tasks if task.id not in same}
    wanted = sorted(outside.keys() - new)
    if not wanted:
        return {}
    any_of = db.any_of("number")
    rows = db.rows(f"SELECT number, org_id, status FROM task WHERE {any_of} ORDER BY number{db.lock}", db.listed(wanted))
    found = {number: status for number, org_id, status in rows if org_id == outside[number].org_id}
    for number in wanted:
        if number not in found:
            raise NotFound("There is no such parent task.", param="parents")
    db.run(f"UPDATE task SET has_children = 1 WHERE {any_of} AND has_children = 0", db.listed(wanted))
    return found


def _add(batch: _Batch, task: NewTask, numbers: dict[str, int], outside: dict[int, str], now: float) -> None:
    number = numbers[task.id]
    row = given_task(task, number, now)
    named: dict[int, OnParentFailure] = {numbers.get(p.id, number_of(p.id)): p.on_failure for p in task.parents}
    waited_for = _behind(row, named, outside, batch.tasks, now)
    batch.tasks[number] = row
    batch.deps += [
        {"parent": parent, "child": number, "place": place, "on_failure": policy.value, "settled": int(parent not in waited_for)}
        for place, (parent, policy) in enumerate(named.items())
    ]
    if row["status"] == HOT:
        batch.hot.append(given_hot(row, row["run_at"], now))
    batch.words.append((number, org_word(task.org_id), called(task.name, task.tags) + " " + of_json(task.payload)))


def _behind(row: Given, named: dict[int, OnParentFailure], outside: dict[int, str], inside: dict[int, Given], now: float) -> set[int]:
    """The parents that it waits for; none when those that are over have decided already."""
    pending: set[int] = set()
    for parent, policy in named.items():
        if parent in inside:
            inside[parent]["has_children"] = 1
        status = inside[parent]["status"] if parent in inside else outside[parent]
        if status in (HOT, TaskStatus.BLOCKED):
            pending.add(parent)
            continue
        decided = status_after_parent(TaskStatus(status), policy)
        if decided is not None:
            row |= {"status": decided.value, "finished_at": now, "error_code": PARENT_FAILED.code, "error_message": PARENT_FAILED.message}
            row["delete_at"] = None if row["keep_seconds"] is None else now + row["keep_seconds"]
            return set()
    if pending:
        row |= {"status": TaskStatus.BLOCKED.value, "pending_parents": len(pending)}
    return pending


def _write(db: TaskTransaction, batch: _Batch) -> None:
    db.insert(schema.task, list(batch.tasks.values()))
    db.insert(schema.task_hot, batch.hot)
    db.insert(schema.task_dep, batch.deps)
    if batch.words:
        db.words(batch.words)
