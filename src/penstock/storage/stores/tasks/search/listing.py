"""Pages of tasks: which conditions a filter means, which index a page walks, where the next one begins."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.domain.durable.task_search import TaskFilter, TaskPage, TaskQuery, TaskSort
from penstock.domain.durable.tasks import TaskStatus
from penstock.domain.errors import BadRequest
from penstock.storage.stores.tasks.rows import BODIES, FROM, HOT, HOT_STATUSES, TASK, listed_numbers, number_of, task_of
from penstock.storage.stores.tasks.search.words import Term, asked, for_postgres, for_sqlite
from penstock.storage.stores.tasks.transaction import Row, TaskTransaction

_LOOKED_THROUGH = (1_000, 10_000)
"""The newest tasks, in which a search on PostgreSQL looks first."""
_RARE = 2
"""Hits among the first of those that are so few that all there are can be found by the index, and not many of them be in the others."""
COUNTED_AT_MOST = 10_000
"""A page's total is exact up to here."""
_STATES = {status: [state for state, of_state in HOT_STATUSES.items() if of_state is status] for status in HOT_STATUSES.values()}
_SORTED_BY = {TaskSort.CREATED: "t.number", TaskSort.FINISHED: "t.finished_at", TaskSort.PRIORITY: "t.priority"}
_STARTED = "COALESCE(h.started_at, t.started_at)"


_SEARCHED = "JOIN task t ON t.number = s.{} LEFT JOIN task_hot h ON h.task = t.number"


class Conditions:
    """Where to look, and parts of a WHERE with their values in the same order."""

    def __init__(self) -> None:
        self.source = FROM
        self.number = "t.number"
        self.words = ""
        """The condition on the table of words `s`, if there is one; it is among the texts, too."""
        self.any_org_words = ""
        """The same words in the tasks of every organisation, for SQLite."""
        self.texts: list[str] = []
        self.values: list[Any] = []

    @property
    def words_only(self) -> bool:
        """Words of an organisation, which is one of them, and nothing else."""
        return bool(self.words) and len(self.texts) == 2

    def add(self, text: str, *values: Any) -> None:
        self.texts.append(text)
        self.values += values

    def __str__(self) -> str:
        return " AND ".join(self.texts)


class Listing(ABC):
    """What the dialects say differently: words, tags, and guesses."""

    def page(self, db: TaskTransaction, org_id: str, query: TaskQuery) -> TaskPage:
        where = self.wanted(db, org_id, query)
        total, exact = self.total(db, org_id, query.filter, where) if query.with_total else (None, True)
        rows = self.rows(db, where, query)
        tasks = tuple(task_of(row) for row in rows[: query.limit])
        more = len(rows) > query.limit
        return TaskPage(tasks, _mark(rows[query.limit - 1], query.sort) if more else None, total, exact)

    def rows(self, db: TaskTransaction, where: Conditions, query: TaskQuery) -> list[Row]:
        """Those of the page and one more."""
        statement, values = self.statement(where, query)
        return db.rows(statement, *values, query.limit + 1)

    def wanted(self, db: TaskTransaction, org_id: str, query: TaskQuery) -> Conditions:
        where = self.conditions(db, org_id, query.filter)
        if query.sort is TaskSort.FINISHED:
            where.add("t.finished_at IS NOT NULL")
        return where

    def statement(self, where: Conditions, query: TaskQuery) -> tuple[str, list[Any]]:
        """The page's query without its limit's value. Raises BadRequest for a place that no page gave."""
        column, way, than = _SORTED_BY[query.sort], "ASC" if query.ascending else "DESC", ">" if query.ascending else "<"
        place = None if query.after is None else _place(query.after, query.sort)
        selected = _selected(query)
        if query.sort is TaskSort.CREATED:
            after = "" if place is None else f" AND {where.number} {than} {place[1]}"
            return f"{selected} {where.source} WHERE {where}{after} ORDER BY {where.number} {way} LIMIT ?", list(where.values)
        after = "" if place is None else f" AND ({column}, t.number) {than} (?, ?)"
        order = f"{column} {way}, t.number {way}"
        return f"{selected} {where.source} WHERE {where}{after} ORDER BY {order} LIMIT ?", [*where.values, *(place or ())]

    def count(self, db: TaskTransaction, org_id: str, wanted: TaskFilter) -> int:
        where = self.conditions(db, org_id, wanted)
        row = db.row(f"SELECT count(*) {where.source} WHERE {where}", *where.values)
        return int(row[0]) if row else 0

    def total(self, db: TaskTransaction, org_id: str, wanted: TaskFilter, where: Conditions) -> tuple[int, bool]:
        """How many there are, and whether that is exact."""
        found, values = f"{where.source} WHERE {where}", where.values
        if where.words_only:
            found, values = f"FROM task_search s WHERE {where.words}", where.values[1:]
        row = db.row(f"SELECT count(*) FROM (SELECT 1 {found} LIMIT {COUNTED_AT_MOST + 1}) AS counted", *values)
        counted = int(row[0]) if row else 0
        return (counted, True) if counted <= COUNTED_AT_MOST else (self.guess(db, org_id, where), False)

    def conditions(self, db: TaskTransaction, org_id: str, wanted: TaskFilter) -> Conditions:
        where = Conditions()
        where.add("t.org_id = ?", org_id)
        if wanted.ids:
            where.add(db.any_of("t.number"), db.listed(listed_numbers(wanted.ids)))
        for column, value in (("queue", wanted.queue), ("kind", wanted.kind), ("name", wanted.name)):
            if value is not None:
                where.add(f"t.{column} = ?", value)
        if wanted.dag_id is not None:
            where.add("t.dag = ?", number_of(wanted.dag_id))
        if wanted.statuses:
            _of_status(where, wanted.statuses)
        for tag in wanted.tags:
            self.tagged(where, tag)
        _between(where, wanted)
        if not wanted.batch_lines:
            where.add("(t.dag IS NULL OR COALESCE(substr(t.idempotency_key, 1, 6), '') <> 'batch_')")
        terms = asked(wanted.text)
        if terms:
            self.found(where, terms, org_id)
        elif wanted.text:
            raise BadRequest("There is no word in this search: it would find every task.", param="q")
        return where

    @abstractmethod
    def found(self, where: Conditions, terms: Sequence[Term], org_id: str) -> None:
        """Tasks with these words."""

    @abstractmethod
    def tagged(self, where: Conditions, tag: str) -> None: ...

    @abstractmethod
    def guess(self, db: TaskTransaction, org_id: str, where: Conditions) -> int:
        """About how many there are, when there are too many to count."""


class SqliteListing(Listing):
    def rows(self, db: TaskTransaction, where: Conditions, query: TaskQuery) -> list[Row]:
        found = (
            self._first_of_any_org(db, where, query)
            if where.words_only and where.any_org_words and query.sort is TaskSort.CREATED
            else None
        )
        return super().rows(db, where, query) if found is None else found

    def _first_of_any_org(self, db: TaskTransaction, where: Conditions, query: TaskQuery) -> list[Row] | None:
        """The page, if the first tasks with these words are all of this organisation, or all that there are: the index of words needs a
        millisecond to find those of an organisation that has a million. None: there may be more."""
        way, than = ("ASC", ">") if query.ascending else ("DESC", "<")
        after = "" if query.after is None else f" AND rowid {than} {_place(query.after, query.sort)[1]}"
        most = query.limit + 1
        hits = db.rows(
            f"SELECT rowid FROM task_search WHERE task_search MATCH ?{after} ORDER BY rowid {way} LIMIT ?", where.any_org_words, most
        )
        statement = f"{_selected(query)} {FROM} WHERE t.org_id = ? AND {db.any_of('t.number')} ORDER BY t.number {way}"
        rows = db.rows(statement, where.values[0], db.listed(number for (number,) in hits))
        return rows if len(hits) < most or len(rows) == most else None

    def found(self, where: Conditions, terms: Sequence[Term], org_id: str) -> None:
        # From the words to the tasks, never the other way: the index of words has them in the order of their numbers.
        where.source, where.number, where.words = (
            f"FROM task_search s CROSS {_SEARCHED.format('rowid')}",
            "s.rowid",
            "s.task_search MATCH ?",
        )
        where.add(where.words, for_sqlite(list(terms), org_id))
        where.any_org_words = for_sqlite(list(terms), None)

    def tagged(self, where: Conditions, tag: str) -> None:
        where.add("EXISTS (SELECT 1 FROM json_each(t.tags) WHERE value = ?)", tag)

    def guess(self, db: TaskTransaction, org_id: str, where: Conditions) -> int:
        return COUNTED_AT_MOST


class PostgresListing(Listing):
    def rows(self, db: TaskTransaction, where: Conditions, query: TaskQuery) -> list[Row]:
        if not where.words_only or query.sort is not TaskSort.CREATED:
            return super().rows(db, where, query)
        # What is common is found among the newest; only for what is rare is everything asked, of which there is little then.
        some, more, all_ = self.hits(where, query)
        hits = db.rows(some, query.limit + 1)
        if _RARE < len(hits) <= query.limit:
            hits = db.rows(more, query.limit + 1)
        if len(hits) <= query.limit:
            hits = db.rows(all_, query.limit + 1)
        way = "ASC" if query.ascending else "DESC"
        statement = f"{_selected(query)} {FROM} WHERE t.org_id = ? AND {db.any_of('t.number')} ORDER BY t.number {way}"
        return db.rows(statement, *where.values, db.listed(number for (number,) in hits))

    def hits(self, where: Conditions, query: TaskQuery) -> tuple[str, str, str]:
        """Three ways of finding the tasks of a page of what has the words, and nothing else is asked."""
        way, than = ("ASC", ">") if query.ascending else ("DESC", "<")
        after = "true" if query.after is None else f"task {than} {_place(query.after, query.sort)[1]}"
        newest = f"SELECT task, document FROM task_search WHERE {after} ORDER BY task {way} LIMIT"
        some, more = (f"SELECT task FROM ({newest} {most}) s WHERE {where.words} ORDER BY task {way} LIMIT ?" for most in _LOOKED_THROUGH)
        return (
            some,
            more,
            # Sorted by a sum, so that the planner does not think of walking through all tasks in their order.
            f"SELECT task FROM task_search s WHERE {after} AND {where.words} ORDER BY task + 0 {way} LIMIT ?",
        )

    def found(self, where: Conditions, terms: Sequence[Term], org_id: str) -> None:
        # The words are part of the statement, so that its plan is made for them: for one task in a million, or for every second one.
        # They are letters and digits, marks and operators ours (words.py).
        words = for_postgres(list(terms), org_id).replace("'", "''")
        where.source, where.number, where.words = (
            f"FROM task_search s {_SEARCHED.format('task')}",
            "s.task",
            f"s.document @@ '{words}'::tsquery",
        )
        where.add(where.words)

    def tagged(self, where: Conditions, tag: str) -> None:
        where.add("t.tags::jsonb @> ?::jsonb", msgspec.json.encode([tag]).decode())

    def guess(self, db: TaskTransaction, org_id: str, where: Conditions) -> int:
        row = db.row(f"EXPLAIN (FORMAT JSON) SELECT 1 {where.source} WHERE {where}", *where.values)
        plan = row[0] if row else []
        plan = msgspec.json.decode(plan) if isinstance(plan, str) else plan
        return max(COUNTED_AT_MOST, int(plan[0]["Plan"]["Plan Rows"])) if plan else COUNTED_AT_MOST


def _selected(query: TaskQuery) -> str:
    return f"SELECT {TASK}{f', {BODIES}' if query.bodies else ''}"


def _of_status(where: Conditions, statuses: frozenset[TaskStatus]) -> None:
    states = sorted(state for status in statuses for state in _STATES.get(status, ()))
    kept = sorted(status.value for status in statuses if status not in _STATES)
    parts = []
    if states:
        parts.append(f"(t.status = '{HOT}' AND h.state IN ({', '.join(map(str, states))}))")
    if kept:
        # Written out, so that the planner sees which partial index has them.
        parts.append(f"t.status IN ({', '.join(repr(status) for status in kept)})")
    where.add(f"({' OR '.join(parts)})")
    if not states and TaskStatus.SUCCEEDED.value not in kept:
        where.add("t.status NOT IN ('hot', 'succeeded')")  # as the partial index has it: SQLite draws no conclusions


def _between(where: Conditions, wanted: TaskFilter) -> None:
    for text, value in (
        ("t.priority >= ?", wanted.priority_from),
        ("t.priority <= ?", wanted.priority_to),
        ("t.created_at >= ?", wanted.created_from),
        ("t.created_at < ?", wanted.created_until),
        (f"{_STARTED} >= ?", wanted.started_from),
        (f"{_STARTED} < ?", wanted.started_until),
        ("t.finished_at >= ?", wanted.finished_from),
        ("t.finished_at < ?", wanted.finished_until),
    ):
        if value is not None:
            where.add(text, value)


def _mark(row: Row, sort: TaskSort) -> str:
    """Where the next page begins: the sorted value and the id of the last task of this one."""
    task = task_of(row)
    if sort is TaskSort.CREATED:
        return task.id
    value = task.finished_at if sort is TaskSort.FINISHED else task.priority
    return f"{task.id}.{value!r}"


def _place(mark: str, sort: TaskSort) -> tuple[float, int]:
    id_, dot, value = mark.partition(".")
    number = number_of(id_)
    try:
        place = (0.0 if sort is TaskSort.CREATED else float(value), number)
    except ValueError:
        number = -1
    if number < 0 or (sort is TaskSort.CREATED and dot):
        raise BadRequest("No page of tasks ended there.", param="after")
    return place
