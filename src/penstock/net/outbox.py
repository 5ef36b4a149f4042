"""What is sent during a turn of the event loop leaves at its end, all of it together.

A write wakes its reader, and where processors are few the kernel lets that one run first, on our core and in the middle of our work: each
request then found the caches emptied by another process. Written in one go at the end of the turn, the answers and requests of a turn
cost us one such interruption, and their readers find more than one of them. What it is worth: docs/explanation/benchmarks.md.
"""

import asyncio
from collections.abc import Callable


def _discard(data: bytes) -> None:
    """The connection is gone."""


class Outlet:
    """One connection's way out: `send` instead of the transport's `write`. What a turn sends here leaves as one write."""

    _waiting = b""

    def __init__(self, outbox: "Outbox", write: Callable[[bytes], object]) -> None:
        self._outbox = outbox
        self._write = write

    def send(self, data: bytes) -> None:
        if self._waiting:
            self._waiting += data
        elif data:
            self._waiting = data
            self._outbox.add(self)

    def flush(self) -> None:
        """Now; before anything that goes past this outlet: another's write, or the transport's close."""
        data = self._waiting
        if data:
            self._waiting = b""
            self._write(data)

    def close(self) -> None:
        """The connection is gone: what still waits, or comes, is dropped."""
        self._waiting = b""
        self._write = _discard


class Outbox:
    """Of one event loop. Outside of a running one everything leaves at once."""

    def __init__(self) -> None:
        self._outlets: list[Outlet] = []

    def add(self, outlet: Outlet) -> None:
        """It has something to send."""
        if not self._outlets:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                outlet.flush()
                return
        self._outlets.append(outlet)

    def flush(self) -> None:
        outlets, self._outlets = self._outlets, []
        for outlet in outlets:
            try:
                outlet.flush()
            except (RuntimeError, OSError):
                # A transport that is closed: `connection_lost` tells its protocol. The others' turn has come all the same.
                outlet.close()
