"""The fenced blocks of the user pages, with the words behind the language: `sh skip="needs a GPU"`, `python title=chores.py`."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.sources import ROOT, shown, text

_FENCE = re.compile(r"^( *)```([\w-]*)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_FOLDERS = ("tutorials", "how-to", "reference", "explanation")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    words: Mapping[str, str]
    """`skip`: why it cannot run on a test machine. `title`: the file that it is. The rest: tests/support/doc_runner.py."""
    code: str

    def __str__(self) -> str:
        return f"{shown(self.page)}:{self.line}"


def user_pages() -> list[Path]:
    """README.md and the four folders of docs/."""
    return [ROOT / "README.md", *sorted(page for folder in _FOLDERS for page in (ROOT / "docs" / folder).glob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    whole = text(page)
    for match in _FENCE.finditer(whole):
        line = whole.count("\n", 0, match.start()) + 1
        code = re.sub(f"^{match[1]}", "", match[4], flags=re.MULTILINE)
        yield Block(page, line, match[2], words_of(match[3]), code)


def words_of(info: str) -> dict[str, str]:
    """`stopped skip="needs a GPU"` as {"stopped": "", "skip": "needs a GPU"}."""
    split = (word.partition("=") for word in shlex.split(info))
    return {name: value for name, _, value in split}
