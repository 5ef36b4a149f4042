"""Where large values lie, by name (a family): local (a directory), memory (for tests)."""

from pathlib import Path
from typing import cast

from penstock.base import family
from penstock.domain.ports import Blobs


def make_blobs(name: str, directory: Path) -> Blobs:
    """The member of that name, not yet open. Raises UnknownMember."""
    return cast("Blobs", family.member(__name__, name)(directory))
