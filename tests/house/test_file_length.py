"""A file holds one idea: short files, short functions. The lists of exceptions only shrink."""

import ast

from tests.support.sources import PACKAGE, shown, text

MOST_LINES = 400
MOST_FUNCTION_LINES = 60

LONG_FILES: dict[str, int] = {}
"""Path -> its lines; lower the number when the file gets shorter."""
LONG_FUNCTIONS: dict[str, int] = {
    # A migration is a list of tables, and frozen once released.
    "src/penstock/storage/stores/migrations/versions/v0001_accounts_workers_ledger.py:upgrade": 156,
}
"""`path:function` -> its lines."""


def _function_lengths() -> dict[str, int]:
    return {
        f"{shown(path)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(text(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_no_file_outgrows_one_idea() -> None:
    lengths = {shown(path): len(text(path).splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == LONG_FILES


def test_no_function_outgrows_a_screen() -> None:
    lengths = _function_lengths()
    assert lengths, "no function was read"
    assert {name: lines for name, lines in lengths.items() if lines > MOST_FUNCTION_LINES} == LONG_FUNCTIONS
