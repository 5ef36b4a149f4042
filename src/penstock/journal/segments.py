"""Finished requests, one JSON line each, in files that live until the ledger has them.

A file is memory-mapped and filled from the front: appending is a copy, not a system call. What follows the last line is zeros.
"""

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from penstock.domain.usage import UsageRecord

SEGMENT_BYTES = 4 << 20
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(UsageRecord)


@dataclass(slots=True)
class Batch:
    """Records on their way to the ledger: the files that hold them, and the records while memory has them too."""

    paths: list[Path]
    records: list[UsageRecord] = field(default_factory=list)

    def load(self) -> list[UsageRecord]:
        return self.records or [record for path in self.paths for record in read(path)]

    def discard(self) -> None:
        """The ledger has them."""
        for path in self.paths:
            path.unlink(missing_ok=True)


class Segments:
    """The file being filled, and those that were filled since the last cut."""

    def __init__(self, directory: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._memory: mmap.mmap | None = None
        self._used = 0
        self._paths: list[Path] = []
        self._records: list[UsageRecord] = []
        self._next = 0
        self.failing = False
        """The disk takes no more: records are kept in memory alone until it does."""

    def append(self, record: UsageRecord) -> None:
        """A full disk is remembered, not raised: the client's answer does not depend on it."""
        self._records.append(record)
        line = _encode(record) + b"\n"
        end = self._used + len(line)
        memory = self._memory
        if memory is None or end > self._segment_bytes:
            memory = self._grow()
            if memory is None:
                return
            end = len(line)
        memory[self._used : end] = line
        self._used = end

    def cut(self) -> Batch | None:
        """What was appended since the last cut, or None; the next record begins a new file."""
        if not self._records:
            return None
        batch = Batch(self._paths, self._records)
        self._records, self._paths = [], []
        self._release()
        return batch

    def close(self) -> None:
        self._release()

    def _grow(self) -> mmap.mmap | None:
        """The next file; None when the disk has no room for it."""
        self._release()
        try:
            path, descriptor = self._create()
        except OSError:
            self.failing = True
            return None
        try:
            # Allocated now: a page that cannot be had later would kill the process by SIGBUS.
            os.posix_fallocate(descriptor, 0, self._segment_bytes)
            self._memory = mmap.mmap(descriptor, self._segment_bytes)
        except OSError:
            self.failing = True
            path.unlink(missing_ok=True)
            return None
        finally:
            os.close(descriptor)
        self._paths.append(path)
        self.failing = False
        return self._memory

    def _create(self) -> tuple[Path, int]:
        while True:
            path = self._directory / f"usage-{self._next:09d}.jsonl"
            self._next += 1
            try:
                return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                continue

    def _release(self) -> None:
        if self._memory is not None:
            self._memory.close()
        self._memory = None
        self._used = 0


def read(path: Path) -> Iterator[UsageRecord]:
    """The whole lines of a segment; a line that was torn by the end of the process is left out."""
    for line in path.read_bytes().rstrip(b"\0").split(b"\n"):
        try:
            yield _decoder.decode(line)
        except msgspec.DecodeError:
            continue


def left_behind(directory: Path) -> list[Path]:
    return sorted(directory.glob("usage-*.jsonl"))
