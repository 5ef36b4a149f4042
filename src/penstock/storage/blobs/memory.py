"""Blobs in memory, gone with the process: the twin of `local` for tests."""

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from penstock.domain.errors import NotFound
from penstock.domain.ports import BlobsFactory

_PIECE_BYTES = 64 * 1024


class MemoryBlobs:
    def __init__(self, directory: Path | None = None) -> None:
        del directory  # every member is made the same way
        self._blobs: dict[str, tuple[bytes, float]] = {}
        self._unfinished: dict[MemoryWriter, float] = {}

    async def open(self) -> None: ...

    async def create(self, name: str) -> "MemoryWriter":
        return MemoryWriter(self._blobs, self._unfinished, name)

    async def read(self, name: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Raises NotFound at the first piece."""
        found = self._blobs.get(name)
        if found is None:
            raise NotFound("There is no such file.")
        end = len(found[0]) if length is None else min(start + length, len(found[0]))
        for at in range(start, end, _PIECE_BYTES):
            yield found[0][at : min(at + _PIECE_BYTES, end)]

    async def delete(self, name: str) -> None:
        self._blobs.pop(name, None)

    async def names(self, older_than_seconds: float) -> Sequence[str]:
        limit = time.monotonic() - older_than_seconds
        return [name for name, (_, at) in self._blobs.items() if at <= limit]

    async def forget_unfinished(self, idle_seconds: float) -> int:
        limit = time.monotonic() - idle_seconds
        idle = [writer for writer, at in self._unfinished.items() if at <= limit]
        for writer in idle:
            del self._unfinished[writer]
        return len(idle)


class MemoryWriter:
    def __init__(self, blobs: dict[str, tuple[bytes, float]], unfinished: "dict[MemoryWriter, float]", name: str) -> None:
        self._blobs = blobs
        self._unfinished = unfinished
        self._name = name
        self._pieces: list[bytes] = []
        unfinished[self] = time.monotonic()

    async def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._unfinished[self] = time.monotonic()

    async def commit(self) -> None:
        self._unfinished.pop(self, None)
        self._blobs[self._name] = b"".join(self._pieces), time.monotonic()

    async def discard(self) -> None:
        self._unfinished.pop(self, None)


MEMBER: BlobsFactory = MemoryBlobs
