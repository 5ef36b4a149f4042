"""One keep-alive HTTP/1.1 client connection: callbacks from the parser, no task and no future for an exchange."""

import asyncio
from typing import Protocol, cast

import httptools

from penstock.domain.ports import ResponseSink, TransportFailure


class Call(Protocol):
    """On whose behalf a connection works. Exactly one of the two comes, last, unless the exchange was abandoned."""

    def end(self) -> None: ...

    def failed(self, reason: TransportFailure) -> None: ...


class Home(Protocol):
    """Where a connection belongs."""

    def keep(self, connection: "ClientConnection") -> None:
        """Another exchange could begin on it."""
        ...

    def gone(self, connection: "ClientConnection") -> None: ...


class ClientConnection(asyncio.Protocol):
    """At most one exchange at a time."""

    def __init__(self, home: Home, largest_head: int) -> None:
        self._home = home
        self._largest_head = largest_head
        self._now = asyncio.get_running_loop().time
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._sink: ResponseSink | None = None
        self._call: Call | None = None
        self._begin_exchange()
        self.exchanges = 0
        self.last_read = 0.0
        """Loop time of the last bytes, or of the request when none have come."""
        self.paused = False

    def _begin_exchange(self) -> None:
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
        return self._transport is not None and self._sink is None and not self._transport.is_closing()

    @property
    def busy(self) -> bool:
        return self._sink is not None

    def start(self, request: bytes, call: Call, sink: ResponseSink) -> None:
        """Send a request; the head and body of its answer go to `sink`, its end to `call`. Only on a usable connection."""
        assert self._transport is not None
        if self.exchanges:
            self._begin_exchange()
        self.exchanges += 1
        self._sink = sink
        self._call = call
        self.last_read = self._now()
        self._transport.write(request)

    def abandon(self) -> None:
        """Close at once; nobody hears anything more."""
        self._sink = self._call = None
        if self._transport is not None:
            self._transport.abort()

    def fail(self, kind: str, detail: str) -> None:
        """Close at once and tell the call why."""
        call = self._call
        self.abandon()
        if call is not None:
            call.failed(TransportFailure(kind, detail))

    def pause(self) -> None:
        if self._transport is not None and not self.paused and not self._transport.is_closing():
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and self.paused and not self._transport.is_closing():
            self.paused = False
            # Silence counts from here: until now it was we who did not read.
            self.last_read = self._now()
            self._transport.resume_reading()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._home.gone(self)
        call = self._call
        self._sink = self._call = None
        if call is None:
            return
        if self.answering and not self._framed and exc is None:
            # Neither a length nor chunks: the end of the connection is the end of the body.
            call.end()
        else:
            call.failed(TransportFailure("reset", f"connection lost: {exc or 'closed by the peer'}"))

    def data_received(self, data: bytes) -> None:
        if self._sink is None:
            # Bytes that nobody asked for: this connection can no longer be trusted.
            self.abandon()
            return
        self.last_read = self._now()
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
        call = self._call
        if not self._complete or call is None:
            return
        self._sink = self._call = None
        if self.paused:
            self.resume()
        if self._keep_alive and self._framed:
            self._home.keep(self)
        elif self._transport is not None:
            self._transport.close()
        call.end()

    # the parser's side

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-length" or name == b"transfer-encoding":
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
        if self.answering:  # an interim answer has none, whatever it says
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self.answering:
            self._complete = True
            # Asked now: the parser forgets it once the message is over.
            self._keep_alive = self._parser.should_keep_alive()
