"""Where large values lie, by name (a family): local (a directory), memory (for tests)."""

from pathlib import Path

from penstock.base.family import Family
from penstock.domain.ports import Blobs, BlobsFactory

BLOBS: Family[BlobsFactory] = Family(__name__)


def make_blobs(name: str, directory: Path) -> Blobs:
    """The member of that name, not yet open. Raises UnknownMember."""
    return BLOBS.member(name)(directory)
