"""The examples of docs/extending.md: each block of Python, by the heading above it, as a module that can be imported."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from penstock.base.family import GROUPS
from tests.support.sources import ROOT, text

PAGE = ROOT / "docs" / "extending.md"
_SECTIONS = re.split(r"^### ", text(PAGE), flags=re.MULTILINE)[1:]
EXAMPLES: dict[str, str] = {
    section.partition("\n")[0]: match[1]
    for section in _SECTIONS
    if (match := re.search(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
}
"""Heading -> source."""
FAMILIES = {group: package for package, group in GROUPS.items()}
"""Group of entry points -> package of the family."""


def module_name(heading: str) -> str:
    return f"extending_{heading.lower().replace(' ', '_')}"


def write(folder: Path, heading: str, group: str = "", name: str = "") -> str:
    """The example as a module in `folder`; with a group also as a distribution with that entry point. Returns the module's name."""
    module = module_name(heading)
    (folder / f"{module}.py").write_text(EXAMPLES[heading], encoding="utf-8")
    if group:
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:MEMBER\n")
    return module


@contextmanager
def imported(folder: Path, heading: str, group: str = "", name: str = "") -> Iterator[ModuleType]:
    """The example in this process, found as an installed distribution is; forgotten afterwards."""
    module = write(folder, heading, group, name)
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(folder))
    try:
        yield importlib.import_module(module)
    finally:
        sys.modules.pop(module, None)
        patch.undo()
