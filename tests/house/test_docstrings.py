"""Docstrings: what tools/docstrings.py reports and leaves alone, and the words of all comments in `src`."""

import re
from pathlib import Path

import pytest

from tests.support.sources import ROOT, shown, text
from tools import docstrings

ODD = re.compile(r"\b(?:[Ww]hoever|[Nn]obody|[Ss]omebody|[Aa]nybody|[Ee]verybody|[Rr]eckon(?:s|ed)?|mends|mended|bears?|hearken)\b")

LONG = "\n".join(f"    x = {number}" for number in range(16))


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        (f"def run():\n{LONG}\n", ["17 lines, no docstring"]),
        (f'def run():\n    """Runs."""\n{LONG}\n', []),
        (f"def _run():\n{LONG}\n", []),
        ("def run():\n    raise Conflict('x')\n", ["raises Conflict and does not say so"]),
        ("def run():\n    '''Raises Conflict.'''\n    raise Conflict('x')\n", []),
        ("class A:\n    '''Methods may raise Conflict.'''\n    def run(self):\n        raise Conflict('x')\n", []),
        ("def run():\n    def inner():\n        raise Conflict('x')\n    return inner\n", []),
        ("def run():\n    raise\n", []),
        ("def run():\n    raise AssertionError('x')\n", []),
    ],
)
def test_finding_names_each_missing_docstring(source: str, missing: list[str]) -> None:
    assert [what for _, _, what in docstrings.findings(source)] == missing


def test_findings_of_a_folder_are_printed_with_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text("import x\n\ndef run():\n    raise Conflict('x')\n")
    assert docstrings.main([str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'a.py'}:3: run: raises Conflict and does not say so\n"
    assert printed.err == "1 findings\n"


def test_sources_avoid_odd_words() -> None:
    """Say who acts: a caller, a worker, an organisation."""
    lines = ((path, line) for path in sorted((ROOT / "src").rglob("*.py")) for line in text(path).splitlines())
    assert [f"{shown(path)}: {line.strip()}" for path, line in lines if ODD.search(line)] == []


def test_odd_word_is_found_but_a_class_name_and_a_header_are_not() -> None:
    assert [ODD.search(line) is not None for line in ("# whoever asks", "request: AnyBody", '"""Bearer <key>."""')] == [True, False, False]
