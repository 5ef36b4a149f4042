"""A transaction as the statements of tasks see it: the same calls on both databases.

Statements are written once, with `?` for values. What the databases say differently is a method here, as are the ways of giving
many rows at one go: SQLite is quickest with a statement repeated in place, PostgreSQL with all rows in one JSON text.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from operator import add, itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Table
from sqlalchemy.engine.interfaces import DBAPICursor

Row = tuple[Any, ...]
Given = dict[str, Any]
_ROWS_AT_ONCE = 1000
_LAST_PLACE = 16_383
"""Of a word in a tsvector; all later words are at this one, too."""
_MOST_LEXEMES = 20_000
"""Of a task: further words are not found. A tsvector has at most 1 MB."""
_MOST_CHARACTERS = 200_000
_PLACES = tuple(f":{place}" for place in range(1, _LAST_PLACE + 1))
_TYPES = {
    "String": "text",
    "Text": "text",
    "BigInteger": "bigint",
    "Integer": "integer",
    "SmallInteger": "smallint",
    "Double": "double precision",
}


class TaskTransaction(ABC):
    """One open transaction."""

    lock: str
    """Ends a SELECT whose rows this transaction will change."""

    def __init__(self, cursor: DBAPICursor) -> None:
        self._cursor = cursor

    def rows(self, statement: str, *values: Any) -> list[Row]:
        self._cursor.execute(self._text(statement), values)
        return list(self._cursor.fetchall())

    def row(self, statement: str, *values: Any) -> Row | None:
        self._cursor.execute(self._text(statement), values)
        found: Row | None = self._cursor.fetchone()
        return found

    def run(self, statement: str, *values: Any) -> int:
        """How many rows it touched."""
        self._cursor.execute(self._text(statement), values)
        return self._cursor.rowcount

    @abstractmethod
    def any_of(self, column: str) -> str:
        """A condition on a column with one value, `listed`."""

    @abstractmethod
    def listed(self, values: Iterable[Any]) -> Any:
        """Numbers or texts as the one value of `any_of`."""

    @abstractmethod
    def lock_names(self, names: Sequence[str]) -> None:
        """Wait until no other transaction has locked one of these names; they are ours until the end of this one."""

    @abstractmethod
    def insert(self, table: Table, rows: Sequence[Given]) -> None:
        """Add rows that all have the same columns."""

    @abstractmethod
    def update(self, table: Table, key: str, rows: Sequence[Given]) -> None:
        """Set the columns of many rows, each found by its own `key`."""

    @abstractmethod
    def words(self, rows: Sequence[tuple[int, str, str]]) -> None:
        """Make tasks findable: number, organisation, normalised words."""

    @abstractmethod
    def more_words(self, rows: Sequence[tuple[int, str]]) -> None:
        """Add words to tasks that are findable already."""

    @abstractmethod
    def forget_words(self, numbers: Sequence[int]) -> None: ...

    @abstractmethod
    def _text(self, statement: str) -> str:
        """The statement with the driver's own marks for values."""


class SqliteTransaction(TaskTransaction):
    lock = ""

    def any_of(self, column: str) -> str:
        return f"{column} IN (SELECT value FROM json_each(?))"

    def listed(self, values: Iterable[Any]) -> Any:
        return msgspec.json.encode(list(values)).decode()

    def lock_names(self, names: Sequence[str]) -> None:
        """One transaction writes at a time."""

    def insert(self, table: Table, rows: Sequence[Given]) -> None:
        if rows:
            names = tuple(rows[0])
            statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
            self._cursor.executemany(statement, [tuple(row.values()) for row in rows])

    def update(self, table: Table, key: str, rows: Sequence[Given]) -> None:
        if not rows:
            return
        names = [name for name in rows[0] if name != key]
        statement = f"UPDATE {table.name} SET {', '.join(f'{name} = ?' for name in names)} WHERE {key} = ?"
        self._cursor.executemany(statement, [(*(row[name] for name in names), row[key]) for row in rows])

    def words(self, rows: Sequence[tuple[int, str, str]]) -> None:
        self._cursor.executemany("INSERT INTO task_search (rowid, org, document) VALUES (?, ?, ?)", rows)

    def more_words(self, rows: Sequence[tuple[int, str]]) -> None:
        added = [(words, number, _MOST_CHARACTERS) for number, words in rows]
        statement = "UPDATE task_search SET document = document || ' ' || ? WHERE rowid = ? AND length(document) < ?"
        self._cursor.executemany(statement, added)

    def forget_words(self, numbers: Sequence[int]) -> None:
        self._cursor.executemany("DELETE FROM task_search WHERE rowid = ?", [(number,) for number in numbers])

    def _text(self, statement: str) -> str:
        return statement


class PostgresTransaction(TaskTransaction):
    lock = " FOR UPDATE"

    def any_of(self, column: str) -> str:
        return f"{column} = ANY(?)"

    def listed(self, values: Iterable[Any]) -> Any:
        return list(values)

    def lock_names(self, names: Sequence[str]) -> None:
        self.rows(
            "SELECT pg_advisory_xact_lock(hashed) FROM "
            "(SELECT DISTINCT hashtextextended(name, 0) AS hashed FROM unnest(?::text[]) AS name ORDER BY hashed) AS in_order",
            list(names),
        )

    def insert(self, table: Table, rows: Sequence[Given]) -> None:
        for part in _parts(rows):
            columns = spread(part)
            self.run(_insert(table, tuple(columns.once), columns.each), *columns.values)

    def update(self, table: Table, key: str, rows: Sequence[Given]) -> None:
        for part in _parts(rows):
            columns = spread(part, never_once=key)
            self.run(_update(table, key, tuple(columns.once), columns.each), *columns.values)

    def words(self, rows: Sequence[tuple[int, str, str]]) -> None:
        for part in _parts(rows):
            given = [{"task": number, "document": f"{org} {tsvector(words)}"} for number, org, words in part]
            self.run(
                "INSERT INTO task_search (task, document) "
                "SELECT task, document::tsvector FROM json_to_recordset(?::json) AS given(task bigint, document text)",
                _json(given),
            )

    def more_words(self, rows: Sequence[tuple[int, str]]) -> None:
        for part in _parts(rows):
            given = [{"number": number, "more": tsvector(words)} for number, words in part]
            self.run(
                "UPDATE task_search SET document = document || more::tsvector "
                "FROM json_to_recordset(?::json) AS given(number bigint, more text) WHERE task = number AND length(document) < ?",
                _json(given),
                _MOST_LEXEMES,
            )

    def forget_words(self, numbers: Sequence[int]) -> None:
        self.run("DELETE FROM task_search WHERE task = ANY(?)", list(numbers))

    def _text(self, statement: str) -> str:
        return _with_percent(statement)


@lru_cache(1024)  # statements with words of people in them come and go
def _with_percent(statement: str) -> str:
    return statement.replace("%", "%%").replace("?", "%s")


@lru_cache(512)
def _insert(table: Table, once: tuple[str, ...], each: tuple[str, ...]) -> str:
    values = {name: f"?::{_type(table, name)}" for name in once}
    found = f"INSERT INTO {table.name} ({', '.join((*once, *each))}) SELECT {', '.join((*values.values(), *each))}"
    return f"{found} FROM {_recordset(table, each)}" if each else found


@lru_cache(512)
def _update(table: Table, key: str, once: tuple[str, ...], each: tuple[str, ...]) -> str:
    sets = [*(f"{name} = ?::{_type(table, name)}" for name in once), *(f"{name} = given.{name}" for name in each if name != key)]
    return f"UPDATE {table.name} SET {', '.join(sets)} FROM {_recordset(table, each)} WHERE {table.name}.{key} = given.{key}"


def _recordset(table: Table, names: tuple[str, ...]) -> str:
    columns = ", ".join(f"{name} {_type(table, name)}" for name in names)
    return f"json_to_recordset(?::json) AS given({columns})"


def _type(table: Table, name: str) -> str:
    return _TYPES[type(table.c[name].type).__name__]


class SharedColumns(NamedTuple):
    """Rows for one statement: what all of them have in common is given once, the rest as a JSON list of objects."""

    once: Given
    each: tuple[str, ...]
    rows: str

    @property
    def values(self) -> tuple[Any, ...]:
        return (*self.once.values(), self.rows) if self.each else tuple(self.once.values())


def spread(rows: Sequence[Given], *, never_once: str = "") -> SharedColumns:
    """Most columns of a large submission say the same in every row, and a server reads each of them only once then."""
    first, last, count = rows[0], rows[-1], len(rows)
    once = {
        name: value
        for name, value in first.items()
        if name != never_once and value == last[name] and list(map(itemgetter(name), rows)).count(value) == count
    }
    each = tuple(name for name in first if name not in once)
    return SharedColumns(once, each, _json([{name: row[name] for name in each} for row in rows]) if each else "")


def tsvector(words: str) -> str:
    """Normalised words (`words.normalised`: letters and digits between spaces) as the text of a tsvector, each with its place."""
    found = words.split()
    return " ".join(map(add, found, _PLACES)) + "".join(f" {word}:{_LAST_PLACE}" for word in set(found[_LAST_PLACE:]))


def _json(rows: Sequence[Given]) -> str:
    return msgspec.json.encode(rows).decode()


def _parts(rows: Sequence[Any]) -> Iterable[list[Any]]:
    remaining = iter(rows)
    while part := list(islice(remaining, _ROWS_AT_ONCE)):
        yield part
