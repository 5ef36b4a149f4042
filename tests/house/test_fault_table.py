"""docs/reference/faults.md has a row for every fault that a test shows, and no other."""

import re

from tests.support.sources import ROOT
from tools import faults

_MARK = re.compile(r'pytest\.mark\.fault\(\s*"([^"]+)"')


def test_every_fault_has_a_row() -> None:
    shown = {name for path in (ROOT / "tests").rglob("test_*.py") for name in _MARK.findall(path.read_text("utf-8"))}
    listed = re.findall(r"^\| ([^|]+?) \|", (ROOT / "docs" / "reference" / "faults.md").read_text("utf-8"), re.MULTILINE)
    assert shown == set(listed) - {"fault"}, "run `make faults`"
    assert len(shown) >= 25


ROWS: faults.Rows = {"B fault": {"result": "it holds", "cases": 2, "figures": ["1 ms", "2 ms"], "file": "tests/b.py", "failed": 0}}


def test_both_tables_are_written_and_neither_forgets_the_other() -> None:
    page = faults.with_all("", ROWS)
    assert "| B fault | it holds | 2 | 1 ms; 2 ms | `tests/b.py` |\n" in page
    page = faults.with_long(page, ROWS, "2026-01-02")
    assert page.count("| B fault |") == 2
    page = faults.with_long(page, {"A fault": {**ROWS["B fault"], "figures": ["9"]}}, "2026-01-03")
    long = page.partition("## Long runs")[2]
    assert "| A fault | 9 | 2026-01-03 | `tests/b.py` |\n| B fault | 1 ms; 2 ms | 2026-01-02 | `tests/b.py` |\n" in long
    assert faults.with_all(page, ROWS) == page
    again = faults.with_long(page, {"B fault": {**ROWS["B fault"], "figures": ["3 ms"]}}, "2026-01-04")
    assert "| B fault | 3 ms | 2026-01-04 | `tests/b.py` |" in again
    assert again.count("B fault") == 2
