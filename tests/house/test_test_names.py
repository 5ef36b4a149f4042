"""Names of tests say subject, condition and result."""

import ast
import re
from collections import Counter

from tests.support.sources import ROOT, shown, text

FEWEST_WORDS = 3
RIDDLE = re.compile(r"(^|_)(nobody|whoever|somebody|something|anybody|it_is)(_|$)|^what_")

UNCLEAR: dict[str, int] = {}
"""How many names in a folder still break the rule. Rename tests and lower the numbers; they never go up."""


def _unclear(name: str) -> bool:
    words = name.removeprefix("test_")
    return len(words.split("_")) < FEWEST_WORDS or RIDDLE.search(words) is not None


def _names() -> list[tuple[str, str]]:
    """Folder (kind and wing) and name of each test."""
    found = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder = "/".join(shown(path).split("/")[:-1][:3])
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        names = [node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, functions)]
        found += [(folder, name) for name in names if name.startswith("test_")]
    return found


def test_unclear_names_only_become_fewer() -> None:
    names = [(folder, name) for folder, name in _names() if _unclear(name)]
    counts = Counter(folder for folder, _ in names)
    grown = {folder for folder, count in counts.items() if count > UNCLEAR.get(folder, 0)}
    assert [f"{folder}: {name}" for folder, name in names if folder in grown] == []


def test_rule_finds_riddles_and_names_that_are_too_short() -> None:
    assert [_unclear(name) for name in ("test_a_stream", "test_what_was_meant", "test_revoked_key_is_refused")] == [True, True, False]


def test_tests_named_as_examples_in_contributing_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", text(ROOT / "CONTRIBUTING.md")))
    assert len(named) > 0
    assert named - {name for _, name in _names()} == set()
