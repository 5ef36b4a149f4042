"""docs/tour.md leads somewhere: every path that it names exists, every example says what to run."""

import re

import pytest

from tests.support.sources import PACKAGE, ROOT, text

PAGE = text(ROOT / "docs" / "tour.md")
EXAMPLES = re.split(r"^## (?=\d+\. )", PAGE, flags=re.MULTILINE)[1:]


def _paths(passage: str) -> set[str]:
    """What stands in backticks and looks like a path, also among the arguments of a command."""
    return {word for quoted in re.findall(r"`([^`]+)`", passage) for word in quoted.split() if re.fullmatch(r"[\w.]+/[\w./]*", word)}


def test_every_path_exists() -> None:
    named = _paths(PAGE) - {"src/penstock/", ".venv/bin/activate"}
    assert len(named) > 30
    assert sorted(path for path in named if not (PACKAGE / path).exists() and not (ROOT / path).exists()) == []


def test_every_bare_file_name_is_a_file_of_a_folder_that_its_example_names() -> None:
    lost = []
    for example in EXAMPLES:
        folders = [path for name in _paths(example) for path in (PACKAGE / name, ROOT / name) if path.is_dir()]
        bare = re.findall(r"`(\w+\.py)`", example)
        lost += [name for name in bare if not any((folder / name).is_file() for folder in folders)]
    assert lost == []


def test_every_class_name_is_a_class_of_the_source() -> None:
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)`", PAGE))
    classes = {name for path in PACKAGE.rglob("*.py") for name in re.findall(r"^class (\w+)", text(path), re.MULTILINE)}
    assert len(named) >= 4
    assert named - classes == set()


def test_the_table_leads_to_every_example() -> None:
    titles = [example.partition("\n")[0] for example in EXAMPLES]
    assert len(titles) == 10
    assert re.findall(r"^\| \[(.+?)\]\(#.+?\) \|", PAGE, re.MULTILINE) == titles


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.partition(".")[0])
def test_example_has_numbered_steps_a_folder_and_a_check(example: str) -> None:
    steps = [int(number) for number in re.findall(r"^(\d+)\. ", example.partition("\n")[2], re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 3
    assert "python -m pytest tests/" in example
    assert any((PACKAGE / path).exists() for path in _paths(example))
