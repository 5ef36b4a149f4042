"""What a command prints: data on stdout (a table, or JSON with `--json`), everything said beside it on stderr."""

import csv
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import time as now
from typing import IO, Any

from penstock.cli.output.moments import age, date

# Terminals obey control characters; a name or an answer from elsewhere must not. Tab and line feed stay.
_UNSAFE = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if code not in (0x09, 0x0A)}
_UNSAFE[0x0D] = ""

_WIDE = 240
"""Columns where there is no terminal: nothing is cut."""


def safe(text: str) -> str:
    """Without control characters."""
    return text.translate(_UNSAFE)


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(item) for item in value)
    return safe(str(value))


@dataclass(frozen=True, slots=True)
class Output:
    json: bool = False
    csv: bool = False
    wide: bool = False
    """A line a row, however long."""
    utc: bool = False

    @property
    def is_data(self) -> bool:
        """A program reads it: no notes beside it."""
        return self.json or self.csv

    def time(self, seconds: float | None) -> str:
        """A moment for a table, to the second: in this machine's time, or in UTC."""
        return date(seconds, seconds_too=True, utc=self.utc or self.csv)

    def age(self, seconds: float | None) -> str:
        """How long ago; in CSV the moment itself."""
        return self.time(seconds) if self.csv else age(seconds, now())

    def note(self, text: str) -> None:
        """Said to the person, not part of the data."""
        print(safe(text), file=sys.stderr, flush=True)

    def data(self, value: Any) -> None:
        """One JSON document."""
        print(json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False), flush=True)

    def table(self, value: Any, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, total: Sequence[Any] | None = None) -> None:
        """`value` as JSON, or the rows for people. A column name that ends in `#` holds numbers."""
        if self.json:
            self.data(value)
            return
        if self.csv:
            _print_csv(columns, rows)
            return
        ready = [[cell(item) for item in row] for row in rows]
        if not ready:
            self.note("none")
            return
        _print_table(columns, ready, [cell(item) for item in total] if total else None, self.wide)

    def item(self, value: Any, fields: Iterable[tuple[str, Any]]) -> None:
        """`value` as JSON, or one field a line; empty fields are left out."""
        if self.json:
            self.data(value)
            return
        if self.csv:
            pairs = list(fields)
            _print_csv([name for name, _ in pairs], [[content for _, content in pairs]])
            return
        lines = [(name, text) for name, content in fields if (text := cell(content))]
        width = max((len(name) for name, _ in lines), default=0)
        for name, text in lines:
            print(f"{name:<{width}}  {text}")
        sys.stdout.flush()

    def text(self, text: str) -> None:
        """Text as it is, on lines of its own."""
        if text:
            sys.stdout.write(safe(text).removesuffix("\n") + "\n")
            sys.stdout.flush()

    def secret(self, value: Any, fields: Iterable[tuple[str, Any]], warning: str) -> None:
        """As `item`, for what is shown only once."""
        self.item(value, fields)
        self.note(warning)

    def done(self, text: str) -> None:
        """A command without data has worked."""
        if self.json:
            self.data({"ok": True})
        else:
            self.note(text)


_PROSE = 28
"""A column with a longer text than this may be wrapped, unless it holds ids."""
_LEAST_PROSE = 16
_GAP = 2


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str] | None, wide: bool) -> None:
    """Ids, numbers, ages and other short texts are never wrapped: where they need more than the terminal has, the line is longer."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=total is not None, footer_style="bold")
    least = full = 0
    for index, column in enumerate(columns):
        footer = Text(total[index]) if total else ""
        longest = max(len(line) for text in (column.rstrip("#"), *(row[index] for row in rows)) for line in text.split("\n"))
        rigid = wide or longest <= _PROSE or column.endswith(("#", "id")) or column == "request"
        least += (longest if rigid else _LEAST_PROSE) + _GAP
        full += longest + _GAP
        table.add_column(
            column.rstrip("#"), justify="right" if column.endswith("#") else "left", footer=footer, overflow="fold", no_wrap=rigid
        )
    for row in rows:
        table.add_row(*(Text(item) for item in row))
    screen = console(sys.stdout)
    if wide or not sys.stdout.isatty():
        screen.width = max(full, _WIDE)
    elif least > screen.width:
        screen.width = least
    with screen.capture() as captured:
        screen.print(table)
    # Without the blanks that fill the last column.
    print("\n".join(line.rstrip() for line in captured.get().split("\n")), end="", flush=True)


def _print_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """As spreadsheets read it: numbers without separators, and no text that would be a formula there."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.rstrip("#").replace(" ", "_") for column in columns])
    writer.writerows([_csv_cell(item) for item in row] for row in rows)
    sys.stdout.flush()


def _csv_cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        text = cell(value)
        if re.fullmatch(r"-?\d{1,3}(,\d{3})*(\.\d+)?", text):
            return text.replace(",", "")
        return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
    return str(value)


def console(file: IO[str]) -> Any:
    """Rich's console on that file: it honours NO_COLOR and knows whether it is a terminal."""
    from rich.console import Console

    return Console(file=file, width=None if file.isatty() else _WIDE, highlight=False)
