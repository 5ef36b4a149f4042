"""What happened in each minute: noted by the transaction that ends tasks, added up beside the traffic."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from penstock.domain.durable.queues import HISTOGRAM_BUCKETS, MinuteStats, bucket
from penstock.domain.durable.tasks import TaskStatus
from penstock.storage.stores.tasks import schema
from penstock.storage.stores.tasks.transaction import Row, TaskTransaction

RETRIED = "retried"
_NOTES_AT_ONCE = 1000
_COUNTS = ("succeeded", "failed", "cancelled", "skipped", "retried")
_Place = tuple[int, str, str]


class Ended(NamedTuple):
    """A task, or one attempt at it, that is over."""

    org_id: str
    queue: str
    status: TaskStatus | None
    """None: another attempt follows."""
    waited: float | None = None
    """Seconds from ready to started; None: it was never started."""
    ran: float | None = None


class _Sums(msgspec.Struct, array_like=True):
    """As a note and a minute keep it: counts in the order of `_COUNTS`, and two histograms."""

    counts: list[int]
    waits: list[int]
    runs: list[int]


_encode, _decode = msgspec.json.encode, msgspec.json.Decoder(_Sums).decode


def note(db: TaskTransaction, ended: Iterable[Ended], now: float) -> None:
    minute = int(now // 60)
    sums: dict[_Place, _Sums] = {}
    for one in ended:
        place = (minute, one.org_id, one.queue)
        if place not in sums:
            sums[place] = _nothing()
        _count(sums[place], one)
    rows = [{"minute": m, "org_id": org, "queue": queue, "stats": _encode(s).decode()} for (m, org, queue), s in sums.items()]
    db.insert(schema.task_minute_note, rows)


def roll_up(db: TaskTransaction) -> int:
    """Add up to 1,000 notes to their minutes; how many that were. No other process may do it at the same time."""
    notes = db.rows("SELECT id, minute, org_id, queue, stats FROM task_minute_note ORDER BY id LIMIT ?", _NOTES_AT_ONCE)
    if not notes:
        return 0
    sums: dict[_Place, _Sums] = {}
    for note_ in notes:
        _add(sums, note_[1:])
    for (minute, org_id, queue), added in sorted(sums.items(), key=lambda item: item[0]):
        where = "WHERE minute = ? AND org_id = ? AND queue = ?"
        found = db.row(f"SELECT stats FROM task_minute {where}", minute, org_id, queue)
        if found is None:
            db.insert(schema.task_minute, [{"minute": minute, "org_id": org_id, "queue": queue, "stats": _encode(added).decode()}])
        else:
            _merge(added, _decode(found[0]))
            db.run(f"UPDATE task_minute SET stats = ? {where}", _encode(added).decode(), minute, org_id, queue)
    return db.run(f"DELETE FROM task_minute_note WHERE {db.any_of('id')}", db.listed(note[0] for note in notes))


def minutes(db: TaskTransaction, org_id: str | None, since: float, until: float) -> list[MinuteStats]:
    sums: dict[_Place, _Sums] = {}
    condition = "minute >= ? AND minute < ?" + ("" if org_id is None else " AND org_id = ?")
    values = [int(since // 60), -int(-until // 60), *([] if org_id is None else [org_id])]
    for table in ("task_minute", "task_minute_note"):
        for row in db.rows(f"SELECT minute, org_id, queue, stats FROM {table} WHERE {condition}", *values):
            _add(sums, row)
    return [
        MinuteStats(
            org_id=org, queue=queue, minute=minute, waits=tuple(s.waits), runs=tuple(s.runs), **dict(zip(_COUNTS, s.counts, strict=True))
        )
        for (minute, org, queue), s in sorted(sums.items(), key=lambda item: (item[0][0], item[0][2], item[0][1]))
    ]


def _nothing() -> _Sums:
    return _Sums([0] * len(_COUNTS), [0] * HISTOGRAM_BUCKETS, [0] * HISTOGRAM_BUCKETS)


def _count(sums: _Sums, one: Ended) -> None:
    sums.counts[_COUNTS.index(RETRIED if one.status is None else one.status.value)] += 1
    if one.waited is not None:
        sums.waits[bucket(one.waited)] += 1
    if one.ran is not None:
        sums.runs[bucket(one.ran)] += 1


def _add(sums: dict[_Place, _Sums], row: Row) -> None:
    minute, org_id, queue, text = row
    place = (minute, org_id, queue)
    if place in sums:
        _merge(sums[place], _decode(text))
    else:
        sums[place] = _decode(text)


def _merge(sums: _Sums, other: _Sums) -> None:
    for mine, theirs in ((sums.counts, other.counts), (sums.waits, other.waits), (sums.runs, other.runs)):
        for place, count in enumerate(theirs):
            mine[place] += count
