"""Blobs as files of a directory. Several gateways share them when they share the directory.

A blob is written beside the others under a name of its own and renamed at its end, so that half of one is never seen. What touches
the disk runs in threads, so that a slow disk holds up only the caller that waits for it.
"""

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from penstock.domain.errors import NotFound, PortUnavailable, StorageFull
from penstock.domain.ports import BlobsFactory

_PIECE_BYTES = 256 * 1024
_PART = ".part"
_RESERVED_SHARE = 0.05
_MOST_RESERVED_BYTES = 5 * 2**30
"""Of the disk, files leave this share free, or so many bytes where that is less: the store and the journal must not run out of room."""
_LOOK_EVERY_BYTES = 4 * 2**20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
P = ParamSpec("P")
T = TypeVar("T")


class LocalBlobs:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def open(self) -> None:
        await _on_disk(self._directory.mkdir, mode=0o700, parents=True, exist_ok=True)

    async def create(self, name: str) -> "LocalWriter":
        path = self._path(name)
        part = path.with_name(f"{name}.{os.urandom(6).hex()}{_PART}")
        return LocalWriter(await _on_disk(_begin, part), part, path)

    async def read(self, name: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Raises NotFound at the first piece."""
        try:
            file = await _on_disk(_opened, self._path(name), start)
        except FileNotFoundError:
            raise NotFound("There is no such file.") from None
        try:
            left = length
            while left is None or left > 0:
                piece = await _on_disk(file.read, _PIECE_BYTES if left is None else min(left, _PIECE_BYTES))
                if not piece:
                    break
                left = None if left is None else left - len(piece)
                yield piece
        finally:
            file.close()

    async def delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            await _on_disk(self._path(name).unlink)

    async def names(self, older_than_seconds: float) -> Sequence[str]:
        return [path.name for path in await _on_disk(self._old, older_than_seconds) if path.suffix != _PART]

    async def forget_unfinished(self, idle_seconds: float) -> int:
        idle = [path for path in await _on_disk(self._old, idle_seconds) if path.suffix == _PART]
        for path in idle:
            with suppress(FileNotFoundError):
                await _on_disk(path.unlink)
        return len(idle)

    def _path(self, name: str) -> Path:
        """In one of a thousand folders, by the end of the name, which is random: no folder grows too large."""
        if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            raise ValueError(f"not a name for a blob: {name!r}")
        return self._directory / name[-2:] / name

    def _old(self, seconds: float) -> list[Path]:
        """By the clock of the file system's own machine, which also wrote the times."""
        limit = time.time() - seconds
        return [path for path in self._all() if _written_at(path) <= limit]

    def _all(self) -> Iterator[Path]:
        for folder in sorted(self._directory.iterdir()):
            if folder.is_dir() and len(folder.name) == 2:
                yield from folder.iterdir()


class LocalWriter:
    def __init__(self, file: BinaryIO, part: Path, path: Path) -> None:
        self._file = file
        self._part = part
        self._path = path
        self._until_look = _LOOK_EVERY_BYTES

    async def write(self, data: bytes) -> None:
        await _on_disk(self._write, data)

    def _write(self, data: bytes) -> None:
        self._until_look -= len(data)
        if self._until_look <= 0:
            self._until_look = _LOOK_EVERY_BYTES
            _check_room(self._part.parent)
        self._file.write(data)

    async def commit(self) -> None:
        await _on_disk(self._finish)

    async def discard(self) -> None:
        """The last step of a failure: it may not fail itself, and waits for a write that is under way."""
        await asyncio.shield(asyncio.to_thread(self._drop))

    def _finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._path)
        _sync(self._path.parent)

    def _drop(self) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._part.unlink()


MEMBER: BlobsFactory = LocalBlobs


def _begin(part: Path) -> BinaryIO:
    part.parent.mkdir(mode=0o700, exist_ok=True)
    _check_room(part.parent)
    return open(part, "xb", opener=_private)


def _check_room(directory: Path) -> None:
    """Raises OSError as a full disk does, a little before it is full."""
    disk = os.statvfs(directory)
    reserved = min(disk.f_blocks * disk.f_frsize * _RESERVED_SHARE, _MOST_RESERVED_BYTES)
    if disk.f_bavail * disk.f_frsize < reserved:
        raise OSError(errno.ENOSPC, "what is left of the disk is reserved")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _opened(path: Path, start: int) -> BinaryIO:
    file = path.open("rb", buffering=0)
    file.seek(start)
    return file


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _sync(directory: Path) -> None:
    """The rename, too, must survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _on_disk(work: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
    try:
        return await asyncio.to_thread(work, *arguments, **keywords)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("There is no space left to store files. Delete some, or try again later.", retry=False) from error
        raise PortUnavailable(f"blobs: {error.strerror}") from error
