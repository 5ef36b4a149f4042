"""ARCHITECTURE.md is the map: every room has its line there, the life of a request is told in order, and every file named exists."""

import re
import tomllib

from tests.support.sources import PACKAGE, ROOT, rooms, text, wings

PAGE = text(ROOT / "ARCHITECTURE.md")


def _section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_wing_and_room_has_one_line() -> None:
    listed = re.findall(r"^\| `([\w./]+)/` \| \S.*\|$", _section("The wings"), re.MULTILINE)
    assert sorted(listed) == sorted({*wings(), *rooms()})


def test_the_order_of_wings_is_the_one_that_is_enforced() -> None:
    picture = _section("The wings").partition("```\n")[2].partition("```")[0]
    drawn = [set(re.findall(r"\w+", line.partition("  ")[0])) for line in picture.splitlines()]
    contracts = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    assert drawn == [set(re.findall(r"\w+", layer)) for layer in contracts[0]["layers"]]


def test_the_life_of_a_request_is_numbered_without_a_gap() -> None:
    steps = [int(number) for number in re.findall(r"^(\d+)\. \*\*", _section("Life of an inference request"), re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 8


def test_every_file_that_it_names_exists() -> None:
    named = set(re.findall(r"`([a-z_]+/[\w./]*)`", PAGE)) - {"src/penstock/"}
    assert len(named) > 30
    assert sorted(name for name in named if not (PACKAGE / name).exists() and not (ROOT / name).exists()) == []


def test_every_identifier_that_it_names_exists() -> None:
    source = "\n".join(text(path) for path in sorted(PACKAGE.rglob("*.py")))
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    named = {name for quoted in re.findall(r"`([A-Za-z_][\w.]*)`", prose) for name in quoted.split(".") if len(name) > 2}
    known = set(re.findall(r"\w+", source))
    assert len(named) > 40
    assert sorted(named - known) == []
