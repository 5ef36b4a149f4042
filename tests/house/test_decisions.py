"""docs/decisions: every page is in the index, has the four headings, and names what is bad about the choice, too."""

import re
import shlex
from pathlib import Path

import pytest

from penstock.simulation.rehearsal import suite
from tests.support.sources import ROOT, shown, text
from tools import reference

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


def _commands(program: str) -> set[str]:
    """Commands in backticks in all pages."""
    return {quoted for page in PAGES for quoted in re.findall(r"`([^`\n]+)`", text(page)) if quoted.startswith(program)}


def test_commands_that_repeat_a_figure_exist() -> None:
    known = reference.commands()
    for command in _commands("penstock "):
        call = shlex.split(command.removeprefix("penstock "))
        name = next((" ".join(call[:length]) for length in (2, 1) if " ".join(call[:length]) in known), None)
        assert name is not None, command
        flags = {word.partition("=")[0] for word in call if word.startswith("-")}
        assert flags <= set(reference.options(known[name])), command


def test_scenarios_that_repeat_a_figure_exist() -> None:
    named = {name for page in PAGES for name in re.findall(r"--suite (\w+)", text(page))} - {"all"}
    assert len(named) > 5
    assert named <= {scenario.name for scenario in suite.chosen(["all"])}


def test_modules_that_repeat_a_figure_exist() -> None:
    modules = {command.split()[2] for command in _commands("python -m ")} - {"pytest"}
    assert {"bench.lane", "bench.pairs"} <= modules
    found = {name for name in modules if (ROOT / name.replace(".", "/")).with_suffix(".py").exists() or (ROOT / name).is_dir()}
    assert modules - found == set()


def test_tests_that_show_a_consequence_exist() -> None:
    paths = {path for page in PAGES for path in re.findall(r"`(?:python -m pytest )?(tests/[\w./]+)", text(page))}
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []
