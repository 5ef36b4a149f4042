"""Finished requests, one line each, in files that live until the ledger has them.

A line is the checksum of a JSON text, a space and the text. A line that begins with the text is of a version that wrote no checksums.

A file is memory-mapped and filled from the front: appending is a copy, not a system call. What follows the last line is zeros.
A file is a batch: its name, which no other file ever has, is the id under which the ledger takes it once.
"""

import asyncio
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from penstock.domain.ids import new_id
from penstock.domain.usage import UsageRecord

SEGMENT_BYTES: Final = 4 << 20
_SUFFIX: Final = ".jsonl"
_LINES_AT_ONCE: Final = 1000
_CHECKSUM_BYTES: Final = 9
"""Eight digits and a space."""
_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(UsageRecord)


@dataclass(slots=True)
class UsageBatch:
    """Records on their way to the ledger: in a file, and in memory too while there is room."""

    id: str
    path: Path | None
    """None: the disk had no room for them."""
    records: list[UsageRecord] = field(default_factory=list)
    memory: mmap.mmap | None = None
    """The file's, unless it has been closed."""
    used: int = 0

    async def load(self) -> tuple[list[UsageRecord], int]:
        """The records, and how many lines of the file are damaged. Raises OSError."""
        if self.path is None or self.records:
            return self.records, 0
        found, damaged = [], 0
        for number, record in enumerate(read(self.path)):
            if record is None:
                damaged += 1
            else:
                found.append(record)
            if number % _LINES_AT_ONCE == 0:
                await asyncio.sleep(0)  # others have their turn
        return found, damaged

    def close_file(self) -> None:
        """It will take a while: close the file, and give back what it does not need."""
        if self.memory is None or self.path is None:
            return
        self.memory.close()
        self.memory = None
        with suppress(OSError):
            os.truncate(self.path, self.used)

    def discard(self) -> None:
        """The ledger has them."""
        if self.memory is not None:
            self.memory.close()
            self.memory = None
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class Segments:
    """The file being filled, and those that were filled since the last cut."""

    def __init__(self, segment_bytes: int = SEGMENT_BYTES, enough: int = 0, on_enough: Callable[[], object] | None = None) -> None:
        """`on_enough` is called when so many records have come since the last cut, or since a file was full."""
        self._directory: Path | None = None  # until it is open
        self._enough = enough
        self._on_enough = on_enough
        self._segment_bytes = segment_bytes
        self._memory: mmap.mmap | None = None
        self._used = 0
        self._batch = _unwritten()
        self._full: list[UsageBatch] = []
        self._spare: UsageBatch | None = None
        self._refused = False
        self.failing = False
        """The disk takes no more: records are kept in memory alone until it does."""

    def open(self, directory: Path) -> None:
        """Keep the files there from now on."""
        self._directory = directory

    def append(self, record: UsageRecord) -> None:
        """A full disk is remembered, not raised: the client's answer does not depend on it."""
        text = _encode(record)
        line = b"%08x %b\n" % (crc32(text), text)
        end = self._used + len(line)
        memory = self._memory
        if memory is None or end > self._segment_bytes:
            memory = self._grow()
            end = len(line)
        if memory is not None:
            memory[self._used : end] = line
            self._used = end
        records = self._batch.records
        records.append(record)
        if len(records) == self._enough and self._on_enough is not None:
            self._on_enough()

    def cut(self) -> list[UsageBatch]:
        """What was appended since the last cut, a batch for each file; the next record begins a new one."""
        self._end_batch()
        batches, self._full = self._full, []
        self._refused = False
        if self.failing and self._spare is None:
            self._look_for_room()
        return batches

    def _look_for_room(self) -> None:
        """Without waiting for a request: none may come as long as we say that we fail."""
        name = new_id("seg")
        assert self._directory is not None, "the journal is not open"
        path = self._directory / (name + _SUFFIX)
        try:
            memory = _create(path, self._segment_bytes)
        except OSError:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return
        self._spare = UsageBatch(name, path, memory=memory)
        self.failing = False

    def discard(self, batch: UsageBatch) -> None:
        """The ledger has them. One file is kept, empty, to become the next: its pages are there already, which costs most of a new one."""
        if self._spare is not None or batch.memory is None:
            batch.discard()
            return
        # Under its old name: if this is the last that the process does, the ledger knows what is left.
        batch.memory[: batch.used] = bytes(batch.used)
        batch.records = []
        self._spare = batch

    def close(self) -> None:
        self._end_batch()
        for batch in self._full:
            batch.close_file()
        if self._spare is not None:
            self._spare.discard()
            self._spare = None

    def _grow(self) -> mmap.mmap | None:
        """The next file; None when the disk has no room for it, which is asked once a cut."""
        if self._refused:
            return None
        self._end_batch()
        name = new_id("seg")
        assert self._directory is not None, "the journal is not open"
        path = self._directory / (name + _SUFFIX)
        try:
            self._memory = self._reuse(path) or _create(path, self._segment_bytes)
        except OSError:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            self.failing = self._refused = True
            return None
        self._batch = UsageBatch(name, path)
        self.failing = False
        return self._memory

    def _reuse(self, path: Path) -> mmap.mmap | None:
        spare, self._spare = self._spare, None
        if spare is None or spare.path is None:
            return None
        spare.path.rename(path)
        return spare.memory

    def _end_batch(self) -> None:
        batch = self._batch
        if batch.records:
            batch.memory, batch.used = self._memory, self._used
            self._full.append(batch)
        self._memory = None
        self._used = 0
        self._batch = _unwritten()


def _unwritten() -> UsageBatch:
    return UsageBatch(new_id("mem"), None)


def _create(path: Path, size: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        # Allocated now: a page that cannot be had later would kill the process by SIGBUS.
        os.posix_fallocate(descriptor, 0, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def read(path: Path) -> Iterator[UsageRecord | None]:
    """The lines of a segment; None for one that is damaged. What the end of the process tore at the end is left out. Raises OSError."""
    lines = path.read_bytes().rstrip(b"\0").split(b"\n")
    torn = lines.pop()  # empty, when the last line is whole
    if torn and b"\0" not in torn and (record := _record(torn)) is not None:
        yield record  # all but its newline was written
    last = len(lines) - 1
    for number, line in enumerate(lines):
        record = _record(line)
        if record is None and number == last and b"\0" in line:
            return  # its end was written before its middle
        yield record


def _record(line: bytes) -> UsageRecord | None:
    text = line
    if not line.startswith(b"["):
        text = line[_CHECKSUM_BYTES:]
        if line[:_CHECKSUM_BYTES] != b"%08x " % crc32(text):
            return None
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def left_behind(directory: Path) -> list[UsageBatch]:
    """The oldest first."""
    return [UsageBatch(path.name.removesuffix(_SUFFIX), path) for path in sorted(directory.glob(f"seg_*{_SUFFIX}"))]
