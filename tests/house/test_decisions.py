"""docs/decisions: every page is in the index, has the four headings, and names what is bad about the choice, too."""

import re
from pathlib import Path

import pytest

from tests.support.sources import ROOT, shown, text

FOLDER = ROOT / "docs" / "decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
HEADINGS = ["Context", "Options", "Choice", "Consequences"]


def test_index_lists_every_page_once_with_its_title() -> None:
    index = re.findall(r"^\| \[(\d{4})\]\((\S+?)\) \| (.+?) \| .*\|$", text(FOLDER / "README.md"), re.MULTILINE)
    titles = [(page.name[:4], page.name, text(page).partition("\n")[0].removeprefix(f"# {page.name[:4]}: ")) for page in PAGES]
    assert index == titles
    assert len(titles) >= 15


def test_numbers_are_used_once() -> None:
    numbers = [page.name[:4] for page in PAGES]
    assert len(set(numbers)) == len(numbers)


def test_folder_holds_only_decisions_and_their_index() -> None:
    others = {page.name for page in FOLDER.iterdir()} - {page.name for page in PAGES}
    assert {name for name in others if not name.startswith("_")} == {"README.md"}


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_page_has_the_four_headings_in_order(page: Path) -> None:
    assert re.findall(r"^## (.+)$", text(page), re.MULTILINE) == HEADINGS


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_page_weighs_several_options_and_names_a_drawback(page: Path) -> None:
    parts = dict(zip(HEADINGS, re.split(r"^## .+$", text(page), flags=re.MULTILINE)[1:], strict=True))
    assert len(re.findall(r"^\d+\. ", parts["Options"], re.MULTILINE)) >= 2
    assert "- Bad: " in parts["Consequences"]


def test_architecture_links_every_decision() -> None:
    linked = set(re.findall(r"\(docs/decisions/(\d{4}-\S+?\.md)\)", text(ROOT / "ARCHITECTURE.md")))
    assert linked == {page.name for page in PAGES}
