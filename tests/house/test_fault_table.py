"""docs/faults.md has a row for every fault that a test shows, and no other."""

import re

from tests.sources import ROOT

_MARK = re.compile(r'pytest\.mark\.fault\(\s*"([^"]+)"')


def test_every_fault_has_a_row() -> None:
    shown = {name for path in (ROOT / "tests").rglob("test_*.py") for name in _MARK.findall(path.read_text("utf-8"))}
    listed = re.findall(r"^\| ([^|]+?) \|", (ROOT / "docs" / "faults.md").read_text("utf-8"), re.MULTILINE)
    assert shown == set(listed) - {"fault"}, "run `make faults`"
    assert len(shown) >= 25
