"""What the repository consists of, for the tests that read it."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
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


def rooms() -> tuple[str, ...]:
    """What lies directly in the package: `edge/` for a folder that holds something, `settings.py` for a file."""
    inside = sorted(PACKAGE.iterdir())
    folders = [f"{path.name}/" for path in inside if path.is_dir() and not path.name.startswith("__") and any(path.glob("*.*"))]
    files = [path.name for path in inside if path.suffix == ".py" and not path.name.startswith("__")]
    return (*folders, *files)
