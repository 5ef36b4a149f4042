"""A database file that belongs to one process."""

import fcntl
import os
from pathlib import Path

from penstock.domain.ports import StoreLocked


class FileLock:
    """An advisory lock on `<file>.lock`, held from `acquire` to `release` or the end of the process, however it ends."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises StoreLocked when another opener holds it, in this process or another."""
        descriptor = os.open(self._path(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # flock, not POSIX locks: those do not keep out a second opener in the same process.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StoreLocked(
                f"The store {self._file} belongs to the running process {owner}: stop that one, or talk to it through its API."
            ) from None
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """The lock file stays: removing it would let two openers lock two different files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _path(self) -> Path:
        return self._file.with_name(self._file.name + ".lock")
