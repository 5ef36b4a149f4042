"""A class name means one thing: at the top of the modules of `src` none occurs twice."""

import ast
from collections import defaultdict

from tests.support.sources import ROOT

SOURCES = sorted((ROOT / "src" / "penstock").rglob("*.py"))


def test_no_class_name_occurs_twice() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in SOURCES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(str(path.relative_to(ROOT)))
    assert {name: places for name, places in found.items() if len(places) > 1} == {}
