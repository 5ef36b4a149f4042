"""docs/extending.md names every family with its folder, and every extension point has a contract and an example of a screen at most."""

import ast
import importlib
import importlib.util
import re

import pytest

from tests.contract.extending.page import EXAMPLES, FAMILIES, PAGE
from tests.support.sources import PACKAGE, ROOT, text

MOST_LINES = 32
SECTIONS = dict(re.findall(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", text(PAGE), re.MULTILINE | re.DOTALL))


def test_table_of_families_names_folders_and_groups_that_exist() -> None:
    rows = re.findall(r"^\| `([\w/]+)/` \| `([\w.]+)` \| `MEMBER\(", text(PAGE), re.MULTILINE)
    assert {group: f"penstock.{folder.replace('/', '.')}" for folder, group in rows} == FAMILIES
    assert [folder for folder, _ in rows if not (PACKAGE / folder / "__init__.py").exists()] == []


def test_every_folder_with_members_is_in_the_table() -> None:
    with_members = {path.parent for path in PACKAGE.rglob("*.py") if re.search(r"^MEMBER\b", text(path), re.MULTILINE)}
    assert {"penstock." + folder.relative_to(PACKAGE).as_posix().replace("/", ".") for folder in with_members} == set(FAMILIES.values())


def test_overview_lists_every_section_and_suites_that_exist() -> None:
    rows = re.findall(r"^\| \[(.+?)\]\(#(.+?)\) \| .+ \| (.+) \|$", text(PAGE), re.MULTILINE)
    assert [anchor for _, anchor, _ in rows] == [title.lower().replace(" ", "-") for title, _, _ in rows]
    assert {title.lower() for title, _, _ in rows} == {title.lower() for title in SECTIONS}
    suites = {path for _, _, cell in rows for path in re.findall(r"`(tests/[^`]+)`", cell)}
    assert sorted(path for path in suites if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("title", SECTIONS)
def test_section_has_a_contract_and_a_short_example(title: str) -> None:
    assert "Contract: " in SECTIONS[title]
    assert 0 < len([line for line in EXAMPLES[title].splitlines() if line.strip()]) <= MOST_LINES


@pytest.mark.parametrize("title", EXAMPLES)
def test_everything_that_an_example_imports_exists(title: str) -> None:
    imports = [node for node in ast.walk(ast.parse(EXAMPLES[title])) if isinstance(node, ast.ImportFrom)]
    named = [(node.module or "", alias.name) for node in imports for alias in node.names if (node.module or "").startswith("penstock")]
    assert [f"{module}.{name}" for module, name in named if not _found(module, name)] == []


def _found(module: str, name: str) -> bool:
    try:
        return hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}") is not None
    except ImportError:
        return False


def test_files_and_names_in_the_text_of_the_page_exist() -> None:
    named = {word for word in re.findall(r"`([a-z_]+/[\w./]+)`", text(PAGE)) if word not in {"src/penstock/"}}
    assert len(named) > 20
    assert sorted(name for name in named if not (PACKAGE / name).exists() and not (ROOT / name).exists()) == []
