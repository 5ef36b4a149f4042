"""What a child prints: read from a pipe, kept with the attempt (its beginning and its end), passed on to the runner's standard error."""

import asyncio
import os
import select
from contextlib import suppress

from penstock.domain.text import storable

_READ_BYTES = 1 << 16
_PAUSE_SECONDS = 0.005
"""Between two reads: a child that prints without end is slowed down to some megabytes a second, and the runner's loop is not."""
_MOST_DRAINED_BYTES = 1 << 20
_MOST_PASSED_BYTES = 1 << 20
_WHOLE_BYTES = 4_096
"""What a pipe takes without waiting when it takes anything (PIPE_BUF)."""
_STDERR = 2


class AttemptLog:
    """Bytes in, text out. `limit_bytes` 0: nothing is kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._head_bytes = limit_bytes // 2
        self._tail_bytes = limit_bytes - self._head_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0
        self._is_new = False

    def take_new(self) -> bool:
        """Whether there is more than at the last call."""
        was, self._is_new = self._is_new, False
        return was

    def add(self, data: bytes) -> None:
        self._is_new = True
        room = self._head_bytes - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        excess = len(self._tail) - self._tail_bytes
        if excess > 0:
            self._left_out += excess
            del self._tail[:excess]

    @property
    def left_out_bytes(self) -> int:
        return self._left_out if self._tail_bytes else 0

    @property
    def text(self) -> str:
        if not self.left_out_bytes:
            return storable((self._head + self._tail).decode("utf-8", "replace"))
        head, tail = self._head.decode("utf-8", "ignore"), self._tail.decode("utf-8", "ignore")
        return storable(f"{head}\n... {self._left_out} bytes left out ...\n{tail}")


class ChildOutput:
    """`open`, `close`; `log` is where the output goes now, None: only to standard error."""

    def __init__(self) -> None:
        self._reading: int | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._passed_of: AttemptLog | None = None
        self._passed_bytes = 0
        self.log: AttemptLog | None = None

    def open(self) -> int:
        """The end to which the child writes; the caller closes it."""
        self._reading, written = os.pipe()
        os.set_blocking(self._reading, False)
        asyncio.get_running_loop().add_reader(self._reading, self._readable)
        return written

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._reading is not None:
            asyncio.get_running_loop().remove_reader(self._reading)
            os.close(self._reading)
            self._reading = None

    def drain(self) -> None:
        """Read what is there now."""
        read = 0
        while read < _MOST_DRAINED_BYTES and (size := self._read() or 0):
            read += size

    def _readable(self) -> None:
        if self._reading is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._reading)
        if self._read() != 0:
            self._pause = loop.call_later(_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._pause = None
        if self._reading is not None:
            asyncio.get_running_loop().add_reader(self._reading, self._readable)

    def _read(self) -> int | None:
        """How many bytes; 0 at the end, None when nothing is there yet."""
        if self._reading is None:
            return 0
        try:
            data = os.read(self._reading, _READ_BYTES)
        except BlockingIOError:
            return None
        if data:
            if self.log is not None:
                self.log.add(data)
            self._pass_on(data)
        return len(data)

    def _pass_on(self, data: bytes) -> None:
        """Much output of one attempt would bury the runner's own."""
        if self.log is not self._passed_of:
            self._passed_of, self._passed_bytes = self.log, 0
        self._passed_bytes += len(data)
        if self._passed_bytes <= _MOST_PASSED_BYTES:
            _pass_on(data)


def _pass_on(data: bytes) -> None:
    """As far as standard error takes it now: nothing waits for a terminal that is not read."""
    with suppress(OSError, ValueError):
        for start in range(0, len(data), _WHOLE_BYTES):
            if not select.select([], [_STDERR], [], 0)[1]:
                return
            os.write(_STDERR, data[start : start + _WHOLE_BYTES])
