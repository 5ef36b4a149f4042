"""Lists public functions whose docstring lacks something: `python tools/docstrings.py [FOLDER...]`, by default all of src/penstock.

Two rules: a public function of more than 15 lines has a docstring; one that raises an exception by name names it in its docstring, or in
that of its class or module. A method that implements a Protocol is documented there: this is a list to read and not a gate.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

LONG_LINES = 15
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_MISTAKES = frozenset({"AssertionError", "NotImplementedError"})
"""Raised for a mistake in the program; a caller does not handle them."""
_FOLDER = Path(__file__).parents[1] / "src" / "penstock"


def findings(source: str) -> list[tuple[int, str, str]]:
    """Line, name and what is missing, for each public function of a module."""
    tree = ast.parse(source)
    return [finding for function, context in _public(tree, "", ast.get_docstring(tree) or "") for finding in _of(function, context)]


def _public(node: ast.AST, prefix: str, context: str) -> Iterator[tuple[_Function, str]]:
    """Public functions and methods, each with the docstrings around it. What is inside a function is private."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from _public(child, f"{prefix}{child.name}.", f"{context}\n{ast.get_docstring(child) or ''}")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield child, context


def _of(function: _Function, context: str) -> Iterator[tuple[int, str, str]]:
    own = ast.get_docstring(function)
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if own is None and lines > LONG_LINES:
        yield function.lineno, function.name, f"{lines} lines, no docstring"
    for name in sorted(_raised(function)):
        if name not in f"{own or ''}\n{context}":
            yield function.lineno, function.name, f"raises {name} and does not say so"


def _raised(function: _Function) -> set[str]:
    """Names of the exceptions in `raise Name(...)`, nested functions left out."""
    found: set[str] = set()
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name))) if name[:1].isupper() and name not in _MISTAKES:
                found.add(name)
        todo.extend(ast.iter_child_nodes(node))
    return found


def main(arguments: Sequence[str]) -> int:
    folders = [Path(argument) for argument in arguments] or [_FOLDER]
    count = 0
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        for line, name, missing in findings(path.read_text(encoding="utf-8")):
            print(f"{path}:{line}: {name}: {missing}")
            count += 1
    print(f"{count} findings", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
