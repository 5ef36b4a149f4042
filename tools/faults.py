"""Writes docs/reference/faults.md from what the fault suite recorded (`make faults`, `make soak`).

python tools/faults.py build/faults.json            # the table of all faults; the one of long runs stays
python tools/faults.py --long build/soak.json       # its rows go to the table of long runs; every other row stays
"""

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "faults.md"
HEAD = """# Faults

Each row is one or more tests on real processes, sockets and databases; `make faults` runs them and writes this table. A caller always
gets an answer, a typed error, or one error event at the end of a stream. A request never hangs and never ends twice.

| fault | what happens | cases | measured | test |
|---|---|---|---|---|
"""
LONG = """
## Long runs

`make soak` runs long forms of these tests and writes their measurements here; `make test` has a short form of each. To run one alone:
`python -m pytest FILE -m soak --timeout=0`.

| fault | measured | on | test |
|---|---|---|---|
"""
TAIL = """
`penstock up --chaos` breaks workers of your own platform from time to time, and reports what follows. Run some load beside it, for example
`penstock bench --requests 10000`.
"""
Rows = dict[str, dict[str, Any]]


def main(arguments: list[str]) -> int:
    long = "--long" in arguments
    rows: Rows = json.loads(Path(arguments[-1]).read_text("utf-8"))
    failed = [name for name, row in rows.items() if row["failed"]]
    if failed:
        print(f"not written: {', '.join(failed)} failed", file=sys.stderr)
        return 1
    page = PAGE.read_text("utf-8")
    today = datetime.now(UTC).date().isoformat()
    PAGE.write_text(with_long(page, rows, today) if long else with_all(page, rows), encoding="utf-8")
    print(f"{PAGE.name}: {len(rows)} {'long runs' if long else 'faults'}")
    return 0


def with_all(page: str, rows: Rows) -> str:
    """The page with another table of all faults."""
    lines = [f"| {name} | {row['result']} | {row['cases']} | {'; '.join(row['figures'])} | `{row['file']}` |" for name, row in rows.items()]
    return HEAD + _table(lines) + LONG + _table(_rows_after(page, LONG)) + TAIL


def with_long(page: str, rows: Rows, today: str) -> str:
    """The page with these long runs in place of those of the same name."""
    new = {name: f"| {name} | {'; '.join(row['figures'])} | {today} | `{row['file']}` |" for name, row in rows.items()}
    old = {line.split(" | ")[0].removeprefix("| "): line for line in _rows_after(page, LONG)}
    return HEAD + _table(_rows_after(page, HEAD)) + LONG + _table(list({**old, **new}.values())) + TAIL


def _rows_after(page: str, head: str) -> list[str]:
    columns = head.splitlines()[-2]
    found = re.search(re.escape(columns) + r"\n\|[-|]+\|\n((?:\|.*\n)*)", page)
    return [] if found is None else found[1].splitlines()


def _table(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in sorted(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
