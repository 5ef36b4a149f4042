"""An answer of the pipeline for a route that waits for it: whole, or piece by piece with the reader's pace."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from penstock.domain.call import Call
from penstock.domain.errors import PenstockError
from penstock.domain.inference import Operation
from penstock.domain.ports import Inference, InflightRequest
from penstock.domain.principal import Principal
from penstock.edge.inference.fastlane import VALID_REQUEST_ID, positive_seconds
from penstock.edge.layers.services import ControlServices

_MOST_WAITING_BYTES = 256 * 1024
_OURS = frozenset({"x-request-id", "content-type", "content-length", "transfer-encoding"})
"""Headers that the route itself answers with."""


@dataclass(frozen=True, slots=True)
class ReplyHead:
    """How an answer begins. `error` or `body` is the whole of it; neither: its pieces follow."""

    headers: dict[str, str]
    error: PenstockError | None = None
    body: bytes | None = None


class WaitingReply:
    """Implements `domain.ports.Reply`."""

    def __init__(self) -> None:
        self._head: asyncio.Future[ReplyHead] = asyncio.get_running_loop().create_future()
        self._pieces: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self._ended = False
        self._paused = False
        self._flight: InflightRequest | None = None

    def run(self, inference: Inference, caller: Principal, call: Call) -> None:
        self._flight = inference.run(caller, call, self)

    # the pipeline's side

    def refuse(self, error: PenstockError, headers: bytes) -> None:
        self._tell(ReplyHead(_lines(headers), error))

    def send(self, status: int, headers: bytes, body: bytes) -> None:
        self._tell(ReplyHead(_lines(headers), None, body))

    def start(self, status: int, headers: bytes) -> None:
        self._tell(ReplyHead(_lines(headers)))

    def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._waiting_bytes += len(data)
        self._news.set()
        if self._waiting_bytes > _MOST_WAITING_BYTES and self._flight is not None and not self._paused:
            self._paused = True
            self._flight.pause()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    def _tell(self, head: ReplyHead) -> None:
        if not self._head.done():
            self._head.set_result(head)

    # the route's side

    async def head(self, request: Request) -> ReplyHead | None:
        """None: the client has left, and the generation has been stopped."""
        gone = asyncio.create_task(_gone(request))
        try:
            both: tuple[asyncio.Future[Any], ...] = (self._head, gone)
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if self._head.done():
                return self._head.result()
            self.cancel()
            return None
        except asyncio.CancelledError:
            self.cancel()
            raise
        finally:
            gone.cancel()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """To the end of the stream; closing it earlier stops the generation."""
        try:
            while True:
                while self._pieces:
                    piece = self._pieces.popleft()
                    self._waiting_bytes -= len(piece)
                    yield piece
                if self._ended:
                    return
                if self._paused and self._flight is not None:
                    self._paused = False
                    self._flight.resume()
                self._news.clear()
                await self._news.wait()
        finally:
            if not self._ended:
                self.cancel()

    def cancel(self) -> None:
        if self._flight is not None:
            self._flight.cancel()


def call_of(request: Request, services: ControlServices, body: bytes) -> Call:
    """What the headers tell of a chat completion, as the fast lane reads them."""
    headers = request.headers
    given = headers.get("x-request-id", "").encode("latin-1")
    known = given.decode("ascii") if VALID_REQUEST_ID.fullmatch(given) else ""
    # A client's id may come twice; the ledger's must not.
    request_id = services.next_request_id(services.clock.time()) if known else request.state.request_id
    timeout = headers.get("x-stainless-read-timeout") or headers.get("x-stainless-timeout")
    retries = headers.get("x-stainless-retry-count", "")
    return Call(
        request_id,
        Operation.CHAT,
        body,
        timeout_seconds=positive_seconds(timeout.encode("latin-1")) if timeout else None,
        retry_count=min(int(retries[:4]), 9999) if retries.isascii() and retries.isdigit() else 0,
        client_request_id=known,
    )


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _lines(headers: bytes) -> dict[str, str]:
    """Ready header lines as a mapping, without those that the route answers with itself."""
    pairs = (line.partition(": ") for line in headers.decode("latin-1").splitlines())
    return {name: value for name, _, value in pairs if name and name not in _OURS}
