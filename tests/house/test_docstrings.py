"""tools/docstrings.py: what it reports, and what it leaves alone."""

from pathlib import Path

import pytest

from tools import docstrings

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
