"""What has been published: a file that is only appended to, so that a process that is killed anywhere goes on where it was."""

import fcntl
import os
from collections.abc import Collection
from pathlib import Path
from typing import IO

_NAME = "published"
_FEW_LINES = 20_000


class PublicationLogInUse(Exception):
    """Another running process has this directory."""


class PublicationLog:
    """Lines `<unix seconds of the end> <message id>`; `<seconds> -` says that everything until then was looked at.

    Kept in memory: the position, and the ids of the last `window_seconds` before it. A line that was cut short is none.
    """

    def __init__(self, directory: Path, window_seconds: float) -> None:
        self._directory = directory
        self._window_seconds = window_seconds
        self._seen: dict[str, float] = {}
        self._lines = self._kept_lines = 0
        """In the file: all, and those that were worth keeping when it was written anew."""
        self._file: IO[bytes] | None = None
        self._lock: IO[bytes] | None = None
        self.position = 0.0
        """Completions before this, less the window, have all been published. 0: nothing has."""

    def open(self) -> None:
        """Raises PublicationLogInUse, OSError."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (self._directory / f"{_NAME}.lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise PublicationLogInUse(
                f"another process uses {self._directory}: give each stream a name or a state directory of its own"
            ) from None
        path = self._directory / _NAME
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                self._read(line)
        self._rewrite()

    def close(self) -> None:
        for file in (self._file, self._lock):
            if file is not None:
                file.close()
        self._file = self._lock = None

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._seen

    def append(self, published: Collection[tuple[float, str]], position: float | None = None) -> None:
        """On disk when this returns. `position`: everything that ended before was looked at. Raises OSError."""
        assert self._file is not None
        lines = [f"{at!r} {message_id}\n" for at, message_id in published]
        lines += [] if position is None else [f"{position!r} -\n"]
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        for at, message_id in published:
            self._keep(at, message_id)
        if position is not None:
            self.position = position
        self._lines += len(lines)
        if self._lines > self._kept_lines + max(self._kept_lines, _FEW_LINES):
            self._rewrite()

    def _read(self, line: bytes) -> None:
        at, _, message_id = line.decode("ascii", "replace").partition(" ")
        if not message_id.endswith("\n"):
            return
        try:
            seconds = float(at)
        except ValueError:
            return
        if message_id == "-\n":
            self.position = seconds
        else:
            self._keep(seconds, message_id.rstrip("\n"))

    def _keep(self, at: float, message_id: str) -> None:
        self._seen[message_id] = at
        self.position = max(self.position, at)

    def _rewrite(self) -> None:
        """Only what is still of use, complete or not at all."""
        oldest = self.position - self._window_seconds
        self._seen = {message_id: at for message_id, at in self._seen.items() if at >= oldest}
        path = self._directory / _NAME
        draft = path.with_suffix(".draft")
        lines = [f"{at!r} {message_id}\n" for message_id, at in self._seen.items()] + [f"{self.position!r} -\n"]
        with draft.open("wb") as file:
            file.write("".join(lines).encode())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        if self._file is not None:
            self._file.close()
        self._file = path.open("ab")
        self._lines = self._kept_lines = len(lines)
