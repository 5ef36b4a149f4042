"""The hot rooms as machine code, in place of their sources: `make install` compiles them where there is a C compiler (`tools/compile.py`).

They are the same modules: mypyc translates the very files. They are used only when every source that they were made from is still the
same, byte for byte; otherwise, and where nothing was compiled, the sources themselves run. Nothing but speed depends on it.
"""

import hashlib
import importlib.machinery
import importlib.util
import json
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

SOURCES = Path(__file__).parents[1]
ROOMS = (
    "domain",
    "wire",
    "net",
    "serving",
    "catalog",
    "observe",
    "edge/inference",
    "storage/journal",
    "storage/state",
    "compute/transport",
)
"""Compiled code relies on the types of what it uses: all of these must be as they were."""
MANIFEST = "manifest.json"


def directory() -> Path:
    """Where the compiled modules of this environment lie."""
    return Path(sysconfig.get_path("platlib")) / "penstock_compiled"


def sources() -> Iterable[Path]:
    """Every file whose change makes compiled modules stale."""
    for room in ROOMS:
        yield from sorted((SOURCES / room).rglob("*.py"))


def fingerprint() -> str:
    """Of the sources, and of the interpreter that the modules are for."""
    digest = hashlib.sha256(importlib.machinery.EXTENSION_SUFFIXES[0].encode())
    for path in sources():
        digest.update(str(path.relative_to(SOURCES)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _Finder:
    """Finds modules by their full names in a table of files; for `sys.meta_path`."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        file = self._files.get(name)
        if file is None:
            return None
        return importlib.util.spec_from_file_location(name, file, loader=importlib.machinery.ExtensionFileLoader(name, str(file)))


def use(where: Path | None = None) -> int:
    """From here on import compiled modules where there are any; how many there are. Call it before anything else is imported."""
    where = where or directory()
    try:
        manifest = json.loads((where / MANIFEST).read_bytes())
        files = {name: where / file for name, file in manifest["modules"].items()}
        fresh = manifest["fingerprint"] == fingerprint()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0
    if not fresh or not all(file.is_file() for file in files.values()) or any(name in sys.modules for name in files):
        return 0
    sys.meta_path.insert(0, _Finder(files))
    return len(files)
