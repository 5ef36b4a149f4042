"""Handing out tasks: what waits where, who may have how much of it, and the leases."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from penstock.domain.durable.leases import Lease
from penstock.storage.stores.tasks.rows import lease_of
from penstock.storage.stores.tasks.shares import FairShares, GroupKey, ReadyTasks
from penstock.storage.stores.tasks.transaction import Row, TaskTransaction


class _QueueLimits(NamedTuple):
    """The limits that an operator has set on a queue of an organisation."""

    paused: int
    max_running: int | None
    rate_per_second: float | None
    next_start_at: float


_Limits = dict[tuple[str, str], _QueueLimits]
_Waiting = dict[GroupKey, list[tuple[int, int]]]


class Wanted(NamedTuple):
    """What a claim asks for; empty or None: any."""

    limit: int
    queues: frozenset[str]
    org_id: str | None
    abilities: frozenset[str]

    def has(self, group_key: GroupKey) -> bool:
        _, queue, ability = group_key
        return (not self.queues or queue in self.queues) and (not self.abilities or ability in self.abilities)


class Claimed(NamedTuple):
    leases: list[Lease]
    rested: dict[str, float]
    """Queues in which the rate allows nothing at the moment, and when it allows the next start."""


class Claims(ABC):
    """The dialect's statements, and fair shares of a claim."""

    def __init__(self) -> None:
        self._shares = FairShares()

    def claim(self, db: TaskTransaction, runner_id: str, wanted: Wanted, now: float) -> Claimed:
        if wanted.limit < 1:
            return Claimed([], {})
        queue_limits, groups = self.waiting(db, runner_id, wanted)
        allowed = {group_key[:2]: 0 for group_key in groups}
        rested: dict[str, float] = {}
        for queue in sorted(allowed):
            allowed[queue] = _allowance(db, *queue, queue_limits, wanted.limit, now)
            next_at = None if allowed[queue] else _next_start_at(queue_limits[queue], now)
            if next_at is not None:
                rested[queue[1]] = min(next_at, rested.get(queue[1], next_at))
        open_ = [ReadyTasks(*group_key, keys) for group_key, keys in groups.items() if allowed[group_key[:2]] > 0]
        takes = self._shares.shares(open_, allowed, wanted.limit)
        if not takes:
            return Claimed([], rested)
        leases = [lease_of(row) for row in self.take(db, [(*group_key, most) for group_key, most in takes.items()], runner_id, now)]
        _spend(db, leases, queue_limits, now)
        return Claimed(leases, rested)

    @abstractmethod
    def waiting(self, db: TaskTransaction, runner_id: str, wanted: Wanted) -> tuple[_Limits, _Waiting]:
        """The limits that operators have set on queues, and where something wanted is ready: sort key and number of what is next there.

        Nothing for a runner that is unknown or drains.
        """

    @abstractmethod
    def take(self, db: TaskTransaction, takes: Sequence[tuple[str, str, str, int]], runner_id: str, now: float) -> list[Row]:
        """Lease up to so many of each group; rows as `lease_of` takes them, by sort key."""


KEYS = "SELECT sort_key, task FROM task_hot WHERE state = 1 AND org_id = ? AND queue = ? AND ability = ? ORDER BY sort_key, task LIMIT ?"
_ACTIVE = "SELECT 1 FROM runner WHERE id = ? AND draining = 0"
_LIMIT_COLUMNS = "org_id, queue, paused, max_running, rate_per_second, next_start_at"
_LEASED = (
    "h.task, h.lease_seq, t.org_id, t.key_id, t.queue, t.kind, t.name, t.priority, t.payload, h.attempt, t.max_attempts, "
    "t.timeout_seconds, t.backoff_seconds, t.backoff_cap_seconds, t.parents, h.ready_at, h.started_at, t.traceparent"
)


class SqliteClaims(Claims):
    NEXT = (
        "SELECT org_id, queue, ability FROM task_hot WHERE state = 1 AND (org_id, queue, ability) > (?, ?, ?) "
        "ORDER BY org_id, queue, ability LIMIT 1"
    )
    NEXT_OF_ONE = (
        "SELECT org_id, queue, ability FROM task_hot WHERE state = 1 AND org_id = ? AND (queue, ability) > (?, ?) "
        "ORDER BY queue, ability LIMIT 1"
    )
    LEASE = (
        "UPDATE task_hot SET state = 2, attempt = attempt + 1, lease_seq = lease_seq + 1, runner_id = ?, started_at = ? WHERE task IN "
        "(SELECT task FROM task_hot WHERE state = 1 AND org_id = ? AND queue = ? AND ability = ? ORDER BY sort_key, task LIMIT ?) "
        "AND state = 1 RETURNING task"
    )

    def waiting(self, db: TaskTransaction, runner_id: str, wanted: Wanted) -> tuple[_Limits, _Waiting]:
        found: _Waiting = {}
        if db.row(_ACTIVE, runner_id) is None:
            return {}, found
        group_key: GroupKey = (wanted.org_id or "", "", "")
        statement = self.NEXT if wanted.org_id is None else self.NEXT_OF_ONE
        while (row := db.row(statement, *group_key)) is not None:
            group_key = (row[0], row[1], row[2])
            if wanted.has(group_key):
                found[group_key] = [(key, number) for key, number in db.rows(KEYS, *group_key, wanted.limit)]
        return _limits_by_queue(db.rows(f"SELECT {_LIMIT_COLUMNS} FROM task_queue")), found

    def take(self, db: TaskTransaction, takes: Sequence[tuple[str, str, str, int]], runner_id: str, now: float) -> list[Row]:
        numbers = [row[0] for given in takes for row in db.rows(self.LEASE, runner_id, now, *given)]
        return db.rows(
            f"SELECT {_LEASED} FROM task_hot h JOIN task t ON t.number = h.task WHERE {db.any_of('h.task')} ORDER BY h.sort_key, h.task",
            db.listed(numbers),
        )


class PostgresClaims(Claims):
    # A loose scan of the index: from one group to the next, however many tasks lie between. (The planner knows no such scan.)
    WAITING = (
        "WITH RECURSIVE ready AS ("
        "(SELECT org_id, queue, ability FROM task_hot WHERE state = 1 AND org_id >= ? AND org_id <= ? "
        f"AND EXISTS ({_ACTIVE}) ORDER BY org_id, queue, ability LIMIT 1) "
        "UNION ALL SELECT beyond.org_id, beyond.queue, beyond.ability FROM ready CROSS JOIN LATERAL ("
        "SELECT org_id, queue, ability FROM task_hot WHERE state = 1 "
        "AND (org_id, queue, ability) > (ready.org_id, ready.queue, ready.ability) AND org_id <= ? "
        "ORDER BY org_id, queue, ability LIMIT 1) beyond) "
        "SELECT ready.org_id, ready.queue, ready.ability, ARRAY(SELECT ARRAY[sort_key, task] FROM task_hot "
        "WHERE state = 1 AND org_id = ready.org_id AND queue = ready.queue AND ability = ready.ability "
        "ORDER BY sort_key, task LIMIT ?), paused, max_running, rate_per_second, next_start_at "
        "FROM ready LEFT JOIN task_queue USING (org_id, queue)"
    )
    # How many of the waiting are picked is a value, so the planner expects a tenth of them, and with a long queue it would read the
    # tables as wholes. An array and an OFFSET leave it no choice but the indexes.
    TAKE = (
        "WITH picked AS MATERIALIZED (SELECT next.task "
        "FROM unnest(?::text[], ?::text[], ?::text[], ?::int[]) AS ready(org_id, queue, ability, most) "
        "CROSS JOIN LATERAL (SELECT task FROM task_hot "
        "WHERE state = 1 AND org_id = ready.org_id AND queue = ready.queue AND ability = ready.ability "
        "ORDER BY sort_key, task LIMIT ready.most FOR UPDATE SKIP LOCKED) next), "
        "leased AS (UPDATE task_hot SET state = 2, attempt = attempt + 1, lease_seq = lease_seq + 1, runner_id = ?, started_at = ? "
        "WHERE task = ANY(ARRAY(SELECT task FROM picked)) RETURNING task, lease_seq, attempt, ready_at, started_at, sort_key) "
        f"SELECT {_LEASED} FROM leased h CROSS JOIN LATERAL (SELECT * FROM task WHERE number = h.task OFFSET 0) t "
        "ORDER BY h.sort_key, h.task"
    )
    _LAST = "\U0010ffff"

    def waiting(self, db: TaskTransaction, runner_id: str, wanted: Wanted) -> tuple[_Limits, _Waiting]:
        first, last = ("", self._LAST) if wanted.org_id is None else (wanted.org_id, wanted.org_id)
        rows = db.rows(self.WAITING, first, last, runner_id, last, wanted.limit)
        queue_limits = _limits_by_queue((org_id, queue, *limits) for org_id, queue, _, _, *limits in rows if limits[0] is not None)
        groups = ((group_key, keys) for *group_key, keys, _, _, _, _ in rows)
        return queue_limits, {(o, q, a): [(key, number) for key, number in keys] for (o, q, a), keys in groups if wanted.has((o, q, a))}

    def take(self, db: TaskTransaction, takes: Sequence[tuple[str, str, str, int]], runner_id: str, now: float) -> list[Row]:
        return db.rows(self.TAKE, *map(list, zip(*takes, strict=True)), runner_id, now)


def _limits_by_queue(rows: Iterable[Row]) -> _Limits:
    return {(org_id, queue): _QueueLimits(*limits) for org_id, queue, *limits in rows}


def _allowance(db: TaskTransaction, org_id: str, queue: str, queue_limits: _Limits, limit: int, now: float) -> int:
    """How many more may start there now."""
    found = queue_limits.get((org_id, queue))
    if found is None:
        return limit
    if found.paused:
        return 0
    if found.max_running is None and found.rate_per_second is None:
        return limit
    # Locked: of two claims from a queue with limits, the second sees what the first has started.
    locked = db.row(
        f"SELECT paused, max_running, rate_per_second, next_start_at FROM task_queue WHERE org_id = ? AND queue = ?{db.lock}", org_id, queue
    )
    queue_limits[org_id, queue] = found = _QueueLimits(*locked) if locked else found
    most: float = limit
    if found.max_running is not None:
        running = db.row("SELECT count(*) FROM task_hot WHERE state = 2 AND org_id = ? AND queue = ?", org_id, queue)
        most = min(most, found.max_running - (running[0] if running else 0))
    if found.rate_per_second is not None:
        most = min(most, (now - _spent_until(found.next_start_at, found.rate_per_second, now)) * found.rate_per_second + 1e-6)
    return max(int(most), 0)


def _spent_until(next_start_at: float, rate_per_second: float, now: float) -> float:
    """Starts are spent up to `next_start_at`; a second's worth, and at least one, may be spent at once."""
    return max(next_start_at, now - max(1.0, 1.0 / rate_per_second))


def _next_start_at(limits: _QueueLimits, now: float) -> float | None:
    """When the rate allows another start; None: it is not the rate that is in the way."""
    if limits.paused or limits.rate_per_second is None:
        return None
    next_at = _spent_until(limits.next_start_at, limits.rate_per_second, now) + 1.0 / limits.rate_per_second
    return next_at if next_at > now else None


def _spend(db: TaskTransaction, leases: Sequence[Lease], queue_limits: _Limits, now: float) -> None:
    """Note the starts in queues with a rate (GCRA)."""
    for (org_id, queue), count in Counter((lease.org_id, lease.queue) for lease in leases).items():
        found = queue_limits.get((org_id, queue))
        if found is None or found.rate_per_second is None:
            continue
        spent = _spent_until(found.next_start_at, found.rate_per_second, now) + count / found.rate_per_second
        db.run("UPDATE task_queue SET next_start_at = ? WHERE org_id = ? AND queue = ?", spent, org_id, queue)
