"""The other end of a connection, and who listens to an answer, in memory."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from penstock.domain.ports import TransportFailure
from penstock.net.connection import ClientConnection
from penstock.net.outbox import Outbox

LARGEST_HEAD = 1000


class Wire(asyncio.Transport):
    """Keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self._written = b""
        self.reading = True
        self.closed = False

    @property
    def written(self) -> bytes:
        """At the end of the turn."""
        self.outbox.flush()
        return self._written

    def write(self, data: Any) -> None:
        self._written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@dataclass
class Home:
    """Where a connection belongs."""

    kept: list[ClientConnection] = field(default_factory=list)
    lost: list[ClientConnection] = field(default_factory=list)

    def keep(self, connection: ClientConnection) -> None:
        self.kept.append(connection)

    def gone(self, connection: ClientConnection) -> None:
        self.lost.append(connection)


@dataclass
class Heard:
    """What a sink was told: head, all data in one piece, and how it ended."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    endings: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        assert not self.endings
        assert not self.status, "one head an answer"
        self.status, self.headers = status, headers
        self.begun.set()

    def data(self, data: bytes) -> None:
        assert self.status
        assert not self.endings
        assert data
        self.body += data

    def answered(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.head(status, headers)
        if body:
            self.data(body)
        self.end()

    def end(self) -> None:
        self.endings.append("end")
        self.over.set()

    def failed(self, reason: TransportFailure) -> None:
        self.endings.append(reason.kind)
        self.over.set()

    @property
    def ending(self) -> str:
        (only,) = self.endings
        return only

    async def ended(self, seconds: float = 5.0) -> str:
        async with asyncio.timeout(seconds):
            await self.over.wait()
        return self.ending


def connected() -> tuple[ClientConnection, Wire, Home]:
    home, wire = Home(), Wire()
    connection = ClientConnection(home, LARGEST_HEAD, wire.outbox)
    connection.connection_made(wire)
    return connection, wire, home
