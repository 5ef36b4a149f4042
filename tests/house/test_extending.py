"""docs/extending.md names every family with its folder, and every extension point has a contract and an example of a screen at most."""

import re

import pytest

from tests.contract.extending.page import EXAMPLES, FAMILIES, PAGE
from tests.support.sources import PACKAGE, ROOT, text

MOST_LINES = 45
SECTIONS = dict(re.findall(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", text(PAGE), re.MULTILINE | re.DOTALL))


def test_table_of_families_names_folders_and_groups_that_exist() -> None:
    rows = re.findall(r"^\| `([\w/]+)/` \| `([\w.]+)` \| `MEMBER\(", text(PAGE), re.MULTILINE)
    assert {group: f"penstock.{folder.replace('/', '.')}" for folder, group in rows} == FAMILIES
    assert [folder for folder, _ in rows if not (PACKAGE / folder / "__init__.py").exists()] == []


def test_every_folder_with_members_is_in_the_table() -> None:
    with_members = {path.parent for path in PACKAGE.rglob("*.py") if re.search(r"^MEMBER = ", text(path), re.MULTILINE)}
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
