"""What the repository consists of, for the tests that read it."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "penstock"


@cache
def tracked() -> tuple[Path, ...]:
    """The files that git keeps, as absolute paths; what is deleted but not yet committed is left out."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(path for name in listing.split("\0") if name and (path := ROOT / name).is_file())


@cache
def text(path: Path) -> str:
    """A file's text; empty for a binary file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def shown(path: Path) -> str:
    """A path as people name it."""
    return path.relative_to(ROOT).as_posix()


def wings() -> tuple[str, ...]:
    """The folders at the top of the package."""
    return tuple(sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()))


def rooms() -> tuple[str, ...]:
    """The folders in the wings, as `wing/room`."""
    found = (path for wing in wings() for path in sorted((PACKAGE / wing).iterdir()) if (path / "__init__.py").is_file())
    return tuple(path.relative_to(PACKAGE).as_posix() for path in found)
