"""An open loop: each request is sent at its moment, whatever became of those before it. One process, one event loop, plain sockets."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

_GIVE_UP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Shot:
    """One request to come. `at`: seconds after the start."""

    at: float
    group: str
    key: str
    body: bytes
    timeout_seconds: float


@dataclass(slots=True)
class Hit:
    """What became of it. Seconds since the start, or since it was sent; None: it did not come so far."""

    at: float
    group: str
    late_seconds: float
    """How much later than planned it was sent."""
    status: int = 0
    code: str = ""
    first_token_seconds: float | None = None
    seconds: float | None = None
    tokens: int = 0
    refused: bool = False
    waited_seconds: float = 0.0
    """In the queue, before it was refused: as the answer's `x-penstock-decision` says."""

    @property
    def completed(self) -> bool:
        return self.status == 200 and not self.code and self.seconds is not None


class Gun:
    """Shoots over connections that it keeps; opens another whenever all are busy."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Wire] = []

    async def shoot(self, shots: Sequence[Shot]) -> list[Hit]:
        """All of them; returns when each has been answered, or nobody would wait for it any more."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        tasks = []
        for shot in shots:
            delay = started + shot.at - loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            tasks.append(loop.create_task(self._one(shot, loop.time() - started - shot.at)))
        return await asyncio.gather(*tasks)

    async def _one(self, shot: Shot, late: float) -> Hit:
        hit = Hit(shot.at, shot.group, late)
        try:
            async with asyncio.timeout(_GIVE_UP_SECONDS):
                wire = await self._wire()
                await wire.ask(_head(shot) + shot.body, hit)
        except (OSError, TimeoutError) as error:
            hit.code = type(error).__name__
        return hit

    async def _wire(self) -> "_Wire":
        while self._idle:
            wire = self._idle.pop()
            if wire.open:
                return wire
        _, made = await asyncio.get_running_loop().create_connection(lambda: _Wire(self._idle), "127.0.0.1", self._port)
        return made

    def close(self) -> None:
        for wire in self._idle:
            wire.close()


def _head(shot: Shot) -> bytes:
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {shot.key}\r\nContent-Type: application/json\r\n"
        f"X-Stainless-Timeout: {shot.timeout_seconds:g}\r\nContent-Length: {len(shot.body)}\r\n\r\n"
    ).encode()


class _Wire(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, idle: "list[_Wire]") -> None:
        self._idle = idle
        self._done: asyncio.Future[None] | None = None
        self._data = b""
        self._hit: Hit | None = None
        self._sent = 0.0
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._finish("connection_lost")

    def close(self) -> None:
        self._transport.close()

    async def ask(self, request: bytes, hit: Hit) -> None:
        self._hit, self._data, self._sent = hit, b"", time.monotonic()
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            await self._done
        except asyncio.CancelledError:
            self._transport.abort()
            raise

    def data_received(self, data: bytes) -> None:
        hit = self._hit
        if hit is None:
            return
        self._data += data
        if not hit.status:
            if b"\r\n\r\n" not in self._data:
                return
            hit.status = int(self._data[9:12])
        if hit.status == 200:
            self._stream(hit)
        else:
            self._refusal(hit)

    def _stream(self, hit: Hit) -> None:
        if hit.first_token_seconds is None and b'"content":"' in self._data:
            hit.first_token_seconds = time.monotonic() - self._sent
        if self._data.endswith(b"0\r\n\r\n"):
            hit.tokens = self._data.count(b'"content":"')
            at = self._data.find(b'data: {"error"')
            if at >= 0:
                hit.code = _code(self._data[at + 6 : self._data.find(b"\n", at)])
                hit.refused = hit.first_token_seconds is None
            self._finish("")

    def _refusal(self, hit: Hit) -> None:
        head, _, body = self._data.partition(b"\r\n\r\n")
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0
        if len(body) >= length:
            hit.refused = True
            hit.waited_seconds = _waited(head)
            self._finish(_code(body) or str(hit.status))

    def _finish(self, code: str) -> None:
        hit, self._hit = self._hit, None
        if hit is None or self._done is None:
            return
        hit.code = hit.code or code
        hit.seconds = time.monotonic() - self._sent
        if self.open:
            self._idle.append(self)
        if not self._done.done():
            self._done.set_result(None)


def _waited(head: bytes) -> float:
    _, found, rest = head.partition(b";wait=")
    return float(rest.partition(b";")[0]) if found else 0.0


def _code(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "unreadable"
