"""What of the journal could not be read: set aside for a person to look at, counted, and logged once. It never stops what can be read."""

from pathlib import Path
from zlib import crc32

import structlog

FOLDER = "damaged"
"""Below the journal's directory of a process. Penstock never deletes what is in it."""
log = structlog.get_logger("penstock.journal")


class Damage:
    """Counts records that are lost to the ledger, and keeps the files that held them."""

    def __init__(self) -> None:
        self.records = 0
        """Lines and slots that could not be read since the start."""

    def set_aside(self, path: Path, lost: int, reason: str) -> None:
        """Move a file out of the journal's way. A file that cannot be moved stays where it is, and is read again at the next start."""
        self._count(path, self._kept(path), lost, reason, move=True)

    def keep_copy(self, path: Path, content: bytes, lost: int, reason: str) -> None:
        """Keep the content of a file that the journal is about to use again. The same content is kept once."""
        target = self._kept(path).with_suffix(f".{crc32(content):08x}{path.suffix}")
        self._count(path, target, lost, reason, content=content)

    @staticmethod
    def _kept(path: Path) -> Path:
        return path.parent / FOLDER / path.name

    def _count(self, path: Path, target: Path, lost: int, reason: str, *, move: bool = False, content: bytes = b"") -> None:
        self.records += lost
        kept = str(target)
        try:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            if move:
                path.rename(target)
            else:
                target.touch(mode=0o600)
                target.write_bytes(content)
        except OSError as error:
            kept = f"not kept: {error}"
        log.error("journal_damaged", file=str(path), lost_records=lost, reason=reason, kept_as=kept)
