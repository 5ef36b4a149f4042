"""Writes docs/faults.md from what the fault suite recorded: `python tools/faults.py build/faults.json` (see `make faults`)."""

import json
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "faults.md"
HEAD = """# Faults

Each row is one or more tests on real processes, sockets and databases; `make faults` runs them and writes this table. What a caller gets is
always an answer, a typed error, or one error event at the end of a stream; never a hang, never a second end.

| fault | what happens | cases | measured | test |
|---|---|---|---|---|
"""
TAIL = """
The long forms of these tests (a million mutations and requests, two thousand slow clients) run with `make soak`. Those of the task queue,
on 2026-11-27 (`python -m pytest tests/live/tasks/test_faults.py -m soak --timeout=0`): 10,000 tasks over 20 SIGKILLs of runners, on SQLite
over HTTP and on PostgreSQL joined directly: none lost, none ended twice; 100 tasks of runners frozen past their lease: 100 of 100 ends
refused. They found two defects, which are mended: a frozen runner was given tasks through the claim that it had open, and a runner whose
connections broke while it stopped went on for ever. To watch the platform being harmed: `penstock up --chaos`.
"""


def main(source: Path) -> int:
    rows = json.loads(source.read_text("utf-8"))
    failed = [name for name, row in rows.items() if row["failed"]]
    if failed:
        print(f"not written: {', '.join(failed)} failed", file=sys.stderr)
        return 1
    lines = []
    for name, row in sorted(rows.items()):
        figures = "; ".join(row["figures"])
        lines.append(f"| {name} | {row['result']} | {row['cases']} | {figures} | `{row['file']}` |")
    PAGE.write_text(HEAD + "\n".join(lines) + "\n" + TAIL, encoding="utf-8")
    print(f"{PAGE.name}: {len(lines)} faults")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
