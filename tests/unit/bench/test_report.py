import json
from pathlib import Path

import pytest

from bench import report
from bench.figures import Spread
from bench.goals import GOALS, Check
from bench.machine import Provenance, cpu_model
from bench.section import Section, shown

SECTION = Section(
    "race", "Race", ("", "per second"), (("nginx", "28,786"), ("penstock", "9")), {"unary_vs_nginx": 0.5}, ("a note",), {"nginx": 1}
)
ORIGIN = Provenance("python -m bench race", "2030-01-02", "Some CPU", 2, "6.1", {"penstock": "1.0 (abc)", "wrk": "4.1.0"})
BLOCK = """\
|  | per second |
| --- | ---: |
| nginx | 28,786 |
| penstock | 9 |

- a note

`python -m bench race`, 2030-01-02, 2 cores of Some CPU, Linux 6.1; penstock 1.0 (abc), wrk 4.1.0.
"""


def test_a_spread_is_shown_with_its_ends_when_it_has_some() -> None:
    assert [shown(each, 1) for each in (Spread(1234.56, 1000, 2000), Spread(2, 2, 2), None)] == ["1,234.6 (1,000.0-2,000.0)", "2.0", "—"]


def test_columns_of_the_terminal_are_aligned() -> None:
    assert report.text(SECTION) == "Race\n          per second\nnginx         28,786\npenstock           9\n  a note\n"


def test_a_document_is_filled_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench race: begin -->\nold\n<!-- bench race: end -->\nafter\n")
    for _ in range(2):
        report.write(page, [SECTION], ORIGIN)
        assert page.read_text() == f"before\n<!-- bench race: begin -->\n{BLOCK}<!-- bench race: end -->\nafter\n"


def test_marks_of_other_sections_stay_as_they_are() -> None:
    document = "<!-- bench memory: begin -->\nkept\n<!-- bench memory: end -->\n"
    assert report.fill(document, "race", "new") == document


def test_a_document_without_marks_is_not_touched(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("precious\n")
    with pytest.raises(report.NoPlace, match=r"page\.md has none of the marks <!-- bench race: begin -->"):
        report.write(page, [SECTION], ORIGIN)
    assert page.read_text() == "precious\n"


def test_a_new_document_is_made(tmp_path: Path) -> None:
    report.write(tmp_path / "new.md", [SECTION], ORIGIN)
    assert (tmp_path / "new.md").read_text() == f"# Measured\n\n<!-- bench race: begin -->\n{BLOCK}<!-- bench race: end -->\n"


def test_programs_get_one_line() -> None:
    line = report.json_line([SECTION], [Check(GOALS["unary_vs_nginx"], 0.5)], ORIGIN)
    assert "\n" not in line
    found = json.loads(line)
    assert found["race"] == {"figures": {"unary_vs_nginx": 0.5}, "notes": ["a note"], "nginx": 1}
    assert found["checks"] == [{"goal": "requests/s ÷ nginx", "measured": 0.5, "required": "at least 0.55", "verdict": "failed"}]
    assert found["provenance"]["command"] == "python -m bench race"


def test_the_processor_has_a_name() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: AMD EPYC 9B14\ncache\t: 1\n") == "AMD EPYC 9B14"
    assert cpu_model("") != ""
