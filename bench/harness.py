"""A whole gateway between two connections that lead nowhere: what comes in is fed in, what goes out is only counted."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from bench import load, upstream
from penstock.app.gateway.assembly import open_gateway
from penstock.app.settings import LogSettings, Settings, UsageSettings
from penstock.domain.workers import ModelOffer, WorkerKind, WorkerRecord
from penstock.edge.inference.connection_state import ConnectionLimits
from penstock.edge.inference.proxied_connection import connection_class
from penstock.observe import logs

_WORKER = WorkerRecord("ups_bench", "bench", WorkerKind.UPSTREAM, "openai", "http://127.0.0.1:9", (ModelOffer("m"),), 256)
_FIRST_ANSWER_SECONDS = 10.0
_NEVER_SECONDS = 3600.0


class Wire(asyncio.Transport):
    """A transport that leads nowhere; it counts what is written and remembers the last piece."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.last = b""

    def write(self, data: Any) -> None:
        self.writes += 1
        self.last = data

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 9) if name in ("peername", "sockname") else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    def resume_reading(self) -> None:
        """Nothing comes by itself."""

    def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connection whose other end is the benchmark."""

    wire: Wire
    protocol: asyncio.Protocol

    @classmethod
    def of(cls, protocol: asyncio.Protocol) -> "End":
        wire = Wire()
        protocol.connection_made(wire)
        return cls(wire, protocol)


class Loop(uvloop.Loop):
    """Whoever dials out gets a wire that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.dialed: list[End] = []

    async def create_connection(  # type: ignore[override]  # the original has two forms with a dozen parameters, all of them ignored here
        self, protocol_factory: Callable[[], asyncio.Protocol], *_: Any, **__: Any
    ) -> Any:
        end = End.of(protocol_factory())
        self.dialed.append(end)
        return end.wire, end.protocol


class Lane:
    """A whole gateway with one client's connection and one to an upstream."""

    def __init__(self, directory: Path) -> None:
        # Records go to the ledger when `settle` says so, and not in the middle of a sample.
        usage = UsageSettings(flush_seconds=_NEVER_SECONDS)
        self._settings = Settings(data_dir=directory, port=0, discover=False, usage=usage, log=LogSettings(level="warning"))

    async def open(self) -> None:
        logs.configure(self._settings.log.level, self._settings.log.format)
        self._gateway = await open_gateway(self._settings, migrate=True)
        first = self._gateway.first
        assert first is not None
        self._gateway.workers.put(_WORKER)
        self._requests = {stream: _request(first.api_key, stream=stream) for stream in (False, True)}
        configuration = uvicorn.Config(_no_asgi, http="httptools", log_config=None)
        configuration.load()
        protocol = connection_class(self._gateway.lane, ConnectionLimits())(configuration, ServerState(), {})
        self._client = End.of(protocol)
        self._flush = self._gateway.lane.outbox.flush
        await self._first()

    async def _first(self) -> None:
        """The first request looks its key up in the store and dials the upstream; later ones need neither."""
        self._gateway.workers.alive(_WORKER.id)
        self._client.protocol.data_received(self._requests[False])
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        async with asyncio.timeout(_FIRST_ANSWER_SECONDS):
            while not (loop.dialed and loop.dialed[-1].wire.writes):  # noqa: ASYNC110 - an event would cost something in every sample
                await asyncio.sleep(0.001)
        self._upstream = loop.dialed[-1]
        self._upstream.protocol.data_received(upstream.UNARY)
        self._flush()
        assert self._client.wire.last.startswith(b"HTTP/1.1 200 "), self._client.wire.last

    def unary(self) -> None:
        self._client.protocol.data_received(self._requests[False])
        self._upstream.protocol.data_received(upstream.UNARY)
        self._flush()

    def stream(self, chunks: int) -> None:
        answer = self._upstream.protocol.data_received
        self._client.protocol.data_received(self._requests[True])
        answer(upstream.STREAM_START)
        for _ in range(chunks):
            answer(upstream.STREAM_WORD)
        # The gateway always asks for the usage.
        answer(upstream.STREAM_STOP + upstream.STREAM_USAGE + upstream.STREAM_END)
        self._flush()

    async def settle(self) -> None:
        """What goes on beside requests, outside of every sample."""
        await self._gateway.journal.flush()
        self._gateway.workers.alive(_WORKER.id)

    async def close(self) -> None:
        await self._gateway.close()


async def _no_asgi(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the lane keeps these requests to itself")


def _request(api_key: str, *, stream: bool) -> bytes:
    body = load.body(stream=stream).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAuthorization: Bearer {api_key}\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
