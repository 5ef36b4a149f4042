"""One keep-alive HTTP/1.1 client connection: callbacks from the parser, no task and no future for an exchange."""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from penstock.domain.ports import ResponseSink, TransportFailure


class ClientConnection(asyncio.Protocol):
    """At most one exchange at a time; `on_idle` gets the connection back when another could begin."""

    def __init__(
        self, on_idle: "Callable[[ClientConnection], None]", on_lost: "Callable[[ClientConnection], None]", largest_head: int
    ) -> None:
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._largest_head = largest_head
        self._transport: asyncio.Transport | None = None
        self._sink: ResponseSink | None = None
        self._reset_exchange()
        self.exchanges = 0
        self.last_read = 0.0
        """Loop time of the last bytes, or of the request when none have come."""
        self._paused = False

    def _reset_exchange(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._framed = False
        self._complete = False
        self._keep_alive = False
        self._head_bytes = 0
        self.answering = False
        """Whether the head of the response has come."""

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and self._sink is None

    def start(self, request: bytes, sink: ResponseSink, now: float) -> None:
        """Send a request; its answer goes to `sink`. Only on a usable connection."""
        assert self._transport is not None
        if self.exchanges:
            self._reset_exchange()
        self.exchanges += 1
        self._sink = sink
        self.last_read = now
        self._transport.write(request)

    def abandon(self) -> None:
        """Close at once; the sink hears nothing more."""
        self._sink = None
        if self._transport is not None:
            self._transport.abort()

    def fail(self, kind: str, detail: str) -> None:
        """Close at once and tell the sink why."""
        sink, self._sink = self._sink, None
        if self._transport is not None:
            self._transport.abort()
        if sink is not None:
            sink.failed(TransportFailure(kind, detail))

    def pause(self) -> None:
        if self._transport is not None and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    @property
    def paused(self) -> bool:
        return self._paused

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_lost(self)
        sink, self._sink = self._sink, None
        if sink is None:
            return
        if self.answering and not self._framed:
            # Neither a length nor chunks: the end of the connection is the end of the body.
            sink.end()
        else:
            sink.failed(TransportFailure("reset", f"connection lost: {exc or 'closed by the peer'}"))

    def data_received(self, data: bytes) -> None:
        if self._sink is None:
            # Bytes that nobody asked for: this connection can no longer be trusted.
            self.abandon()
            return
        self.last_read = asyncio.get_running_loop().time()
        if not self.answering:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail("protocol", f"not HTTP: {error}")
            return
        if not self.answering and self._head_bytes > self._largest_head:
            self.fail("protocol", f"response headers of more than {self._largest_head} bytes")
            return
        self._hand_over()

    def _hand_over(self) -> None:
        """Once a read: all that was parsed goes to the sink in one piece."""
        if self._body and self._sink is not None:
            data = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._body = []
            self._sink.data(data)
        if not self._complete or self._sink is None:
            return
        sink, self._sink = self._sink, None
        self.resume()
        if self._keep_alive and self._framed:
            self._on_idle(self)
        elif self._transport is not None:
            self._transport.close()
        sink.end()

    # the parser's side

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._framed = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._headers = []
            return
        if status in (204, 304):
            self._framed = True
        self.answering = True
        if self._sink is not None:
            self._sink.head(status, self._headers)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self.answering:
            self._complete = True
            # Asked now: the parser forgets it once the message is over.
            self._keep_alive = self._parser.should_keep_alive()
