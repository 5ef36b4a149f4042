"""A docstring that names a Python file in backticks names one that exists: beside it, in the package, or in the repository."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.sources import PACKAGE, ROOT, text

_FILE = re.compile(r"`([\w./]+\.py)`")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _named(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, _DOCUMENTED):
            yield from _FILE.findall(ast.get_docstring(node) or "")


def test_every_file_named_in_a_docstring_exists() -> None:
    named = [(path, name) for path in sorted(PACKAGE.rglob("*.py")) for name in _named(path)]
    assert len(named) > 20
    missing = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path, name in named
        if not any((folder / name).is_file() for folder in (path.parent, PACKAGE, ROOT))
    ]
    assert missing == []
