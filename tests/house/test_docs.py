"""The documents tell the truth: examples parse, commands and settings exist, links lead somewhere, generated pages are current."""

import ast
import json
import re
import shlex
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from penstock.app.settings import Settings
from penstock.catalog.policy_document import parse
from penstock.compute.engines import llamacpp, sglang, sim, transformers, vllm
from penstock.domain import errors
from tests.support.doc_blocks import Block, blocks, user_pages
from tests.support.sources import ROOT, shown, text
from tools import reference

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def _examples(*languages: str) -> list[Any]:
    found = (block for page in PAGES for block in blocks(page) if block.language in languages)
    return [pytest.param(block, id=str(block)) for block in found]


@pytest.mark.parametrize("example", _examples("python"))
def test_python_blocks_compile(example: Block) -> None:
    ast.parse(example.code, str(example))


@pytest.mark.parametrize("example", _examples("toml"))
def test_toml_blocks_are_valid_settings_or_policies(example: Block) -> None:
    values = tomllib.loads(example.code)
    if "classes" in values:
        parse(values)
        return
    # Settings look whether these files exist, and those of an example do not.
    files = {name: values.pop(name) for name in ("tls_cert", "tls_key") if name in values}
    assert set(files) <= set(Settings.model_fields)
    Settings(**values)


@pytest.mark.parametrize("example", _examples("json"))
def test_json_blocks_parse(example: Block) -> None:
    json.loads(example.code)


@pytest.mark.parametrize("example", _examples("sh"))
def test_shell_blocks_parse(example: Block) -> None:
    checked = subprocess.run(["bash", "-n"], input=example.code, capture_output=True, text=True, check=False)
    assert checked.stderr == ""


def _calls(code: str, program: str) -> Iterator[list[str]]:
    """The argument lists with which a program is called in a shell example."""
    plain = re.sub(r"<<'(\w+)'.*?^\1$|(?:^|(?<=\s))#.*?$", "", code.replace("\\\n", " "), flags=re.MULTILINE | re.DOTALL)
    lexer = shlex.shlex(plain, posix=True, punctuation_chars=";|&()<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    for separates, words in groupby(lexer, key=lambda word: set(word) <= set(";|&()<>\n")):
        call = [word for word in words if not re.match(r"^[A-Z_]+=|^do$", word)]
        if not separates and call and call[0] == program:
            yield call[1:]


@pytest.mark.parametrize("example", _examples("sh"))
def test_commands_and_flags_in_shell_blocks_exist(example: Block) -> None:
    commands = reference.commands()
    for call in _calls(example.code, "penstock"):
        name = next((" ".join(call[:length]) for length in (2, 1) if " ".join(call[:length]) in commands), None)
        assert name is not None, f"there is no command penstock {' '.join(call[:2])}"
        known = reference.options(commands[name])
        flags = [word.partition("=")[0] for word in call if word.startswith("-")]
        assert [flag for flag in flags if flag not in known] == [], f"penstock {name}"


@pytest.mark.parametrize("name", reference.commands())
def test_help_of_every_command_has_an_example_with_flags_that_exist(name: str) -> None:
    command = reference.commands()[name]
    title, _, example = (command.epilog or "").partition(": ")
    (call,) = _calls(example, "penstock")
    assert (title, " ".join(call).startswith(name)) == ("Example", True)
    known = reference.options(command)
    assert [word for word in call if word.startswith("--") and word not in known] == []


@pytest.mark.parametrize("name", reference.commands())
def test_every_argument_and_option_of_a_command_is_described(name: str) -> None:
    assert [param.name for param in reference.commands()[name].params if not (getattr(param, "help", None) or param.hidden)] == []


def test_calls_finds_commands_behind_pipes_variables_and_substitutions() -> None:
    code = 'A=b penstock chat --json # not me\ngit diff | penstock usage \\\n  --by "day" && penstock doctor\nC=$(penstock up)'
    assert list(_calls(code, "penstock")) == [["chat", "--json"], ["usage", "--by", "day"], ["doctor"], ["up"]]


SKIPPED: dict[str, int] = {
    "README.md": 1,
    "docs/explanation/benchmarks.md": 1,
    "docs/explanation/simulation.md": 2,
    "docs/how-to/join-a-machine.md": 2,
    "docs/how-to/put-nginx-in-front.md": 2,
    "docs/how-to/serve-real-models.md": 4,
    "docs/how-to/upgrade.md": 1,
    "docs/reference/engines.md": 6,
    "docs/reference/streams.md": 2,
    "docs/reference/tasks.md": 1,
    "docs/tutorials/getting-started.md": 1,
}
"""Blocks that no test runs, because a test machine has not what they need; each says why. The numbers only shrink."""


def test_number_of_skipped_blocks_only_shrinks() -> None:
    left_out = [block for page in user_pages() for block in blocks(page) if "skip" in block.words]
    assert Counter(shown(block.page) for block in left_out) == SKIPPED
    assert [str(block) for block in left_out if len(block.words["skip"].split()) < 2] == [], "say why"


def test_words_behind_a_block_language_are_known() -> None:
    known = {"skip", "title", "exit", "stopped", "background"}
    assert [str(block) for page in user_pages() for block in blocks(page) if set(block.words) - known] == []


ODD = re.compile(r"\b(?:whoever|mends?|mended|reckon(?:s|ed)?|nobody|somebody|bears|(?<!there )is no)\b", re.IGNORECASE)


@pytest.mark.parametrize("page", user_pages(), ids=shown)
def test_user_pages_avoid_odd_words(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$|`[^`]*`", "", text(page), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in prose.splitlines() if ODD.search(line)] == []


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_make_goals_named_in_pages_exist(page: Path) -> None:
    goals = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text(page), re.MULTILINE))
    assert named <= goals


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_of_pages_resolve(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|mailto:|#)([^)#\s]+)", text(page))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("name", reference.PAGES)
def test_generated_pages_are_current(name: str) -> None:
    assert (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") == reference.PAGES[name](), "run: make docs"


def test_errors_page_lists_every_error() -> None:
    def tree(kind: type[errors.PenstockError]) -> Iterator[type[errors.PenstockError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from tree(child)

    listed = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", text(ROOT / "docs" / "reference" / "errors.md"), re.MULTILINE))
    assert listed == {(str(kind.status), kind.code) for kind in tree(errors.PenstockError) if kind.__module__ == errors.__name__}


@pytest.mark.parametrize("engine", [llamacpp, sglang, sim, transformers, vllm])
def test_engines_page_lists_every_option(engine: ModuleType) -> None:
    page = text(ROOT / "docs" / "reference" / "engines.md")
    assert {option for option in engine.OPTIONS if f"`{option}`" not in page} == set()


def _dependencies() -> Iterator[str]:
    """What pyproject.toml and package.json ask for directly."""
    project = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]
    for requirement in (*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)):
        yield re.split(r"[\[<>=]", requirement)[0]
    yield from json.loads(text(ROOT / "web" / "package.json"))["devDependencies"]


def test_every_dependency_has_a_reason() -> None:
    table = text(ROOT / "CONTRIBUTING.md").partition("## Dependencies")[2]
    rows = re.findall(r"^\| ([\w, -]+) \| (.+) \|$", table, re.MULTILINE)
    reasons = {name.strip(): why.strip() for names, why in rows for name in names.split(",")}
    assert {name for name in _dependencies() if not reasons.get(name)} - {"penstock"} == set()
