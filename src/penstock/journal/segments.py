"""Finished requests, one JSON line each, in append-only files that live until the ledger has them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from penstock.domain.usage import UsageRecord

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(UsageRecord)


@dataclass(slots=True)
class Batch:
    """Records on their way to the ledger: the file that holds them, and the records while memory has them too."""

    path: Path | None
    records: list[UsageRecord] = field(default_factory=list)

    def load(self) -> list[UsageRecord]:
        return self.records or (list(read(self.path)) if self.path is not None else [])

    def discard(self) -> None:
        """The ledger has them."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class Segments:
    """The file being written, and those before it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._records: list[UsageRecord] = []
        self._next = 0
        self.failing = False
        """The disk takes no more: records are kept in memory alone until it does."""

    def append(self, record: UsageRecord) -> None:
        """One write; a full disk is remembered, not raised: the client's answer does not depend on it."""
        self._records.append(record)
        try:
            if self._descriptor is None:
                self._open()
            line = _encoder.encode(record) + b"\n"
            assert self._descriptor is not None
            self.failing = os.write(self._descriptor, line) != len(line)
        except OSError:
            self.failing = True

    def cut(self) -> Batch | None:
        """What was appended since the last cut, or None; the next record begins a new file."""
        if not self._records:
            return None
        batch = Batch(self._path, self._records)
        self._records = []
        self._close()
        return batch

    def close(self) -> None:
        self._close()

    def _open(self) -> None:
        while True:
            path = self._directory / f"usage-{self._next:09d}.jsonl"
            self._next += 1
            try:
                self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            except FileExistsError:
                continue
            self._path = path
            return

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = self._path = None


def read(path: Path) -> Iterator[UsageRecord]:
    """The whole lines of a segment; a torn last line (the disk was full) is left out."""
    for line in path.read_bytes().split(b"\n"):
        try:
            yield _decoder.decode(line)
        except msgspec.DecodeError:
            continue


def left_behind(directory: Path) -> list[Path]:
    return sorted(directory.glob("usage-*.jsonl"))
