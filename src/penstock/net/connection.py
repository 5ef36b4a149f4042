"""One keep-alive HTTP/1.1 client connection: callbacks from the parser, no task and no future for an exchange."""

import asyncio
from typing import Final, Protocol, cast

import httptools

from penstock.domain.ports import ResponseSink, TransportFailure
from penstock.net.known_head import KnownHead
from penstock.net.outbox import Outbox, Outlet

_PLAIN: Final = b"HTTP/1.1 200 "
"""What an answer begins with whose head may be known when it comes again."""


class CallListener(Protocol):
    """On whose behalf a connection works. Exactly one of the three comes, last, unless the exchange was abandoned."""

    def answered(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """The answer came in one piece; the sink has heard nothing of it."""
        ...

    def end(self) -> None:
        """The sink has heard everything."""
        ...

    def failed(self, reason: TransportFailure) -> None: ...


class ConnectionOwner(Protocol):
    """Where a connection belongs."""

    def keep(self, connection: "ClientConnection") -> None:
        """Another exchange could begin on it."""
        ...

    def gone(self, connection: "ClientConnection") -> None: ...


class ClientConnection(asyncio.Protocol):
    """At most one exchange at a time."""

    def __init__(self, owner: ConnectionOwner, largest_head: int, outbox: Outbox) -> None:
        self._owner = owner
        self._outbox = outbox
        self._largest_head = largest_head
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._known = KnownHead()
        self._known_headers: list[tuple[bytes, bytes]] = []
        self._sink: ResponseSink | None = None
        self._call: CallListener | None = None
        self._begin_answer()
        self._untouched = True
        """No byte of the answer has come."""
        self.open = False
        """Neither the server nor we have begun to close it."""
        self.exchanges = 0
        self.silent_since = 0.0
        """Loop time at which the watcher for silence first looked after the last bytes; 0: not yet. No clock is read for a read."""
        self.paused = False

    def _begin_answer(self) -> None:
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
        return self.open and self._call is None

    @property
    def busy(self) -> bool:
        return self._call is not None

    def start(self, request: bytes, call: CallListener, sink: ResponseSink) -> None:
        """Send a request; the head and body of its answer go to `sink`, its end to `call`. Only on a usable connection."""
        self.exchanges += 1
        self._sink = sink
        self._call = call
        self._untouched = True
        self.answering = False
        self.silent_since = 0.0
        self._outlet.send(request)

    def abandon(self) -> None:
        """Close at once; no listener hears anything more."""
        self._sink = self._call = None
        self.open = False
        if self._transport is not None:
            self._outlet.close()
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
            self.silent_since = 0.0
            self._transport.resume_reading()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._outlet = Outlet(self._outbox, self._transport.write)
        self.open = True

    def eof_received(self) -> None:
        self.open = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._outlet.close()
        self.open = False
        self._owner.gone(self)
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
        """Bytes from the peer: a head and body like the last ones go to the sink in one call, all others through the parser."""
        call = self._call
        if call is None:
            # Bytes without a request: this connection can no longer be trusted.
            self.abandon()
            return
        self.silent_since = 0.0
        first = self._untouched
        if first:
            body = self._known.body(data)
            if body is not None:
                self._sink = self._call = None
                if self.paused:
                    self.resume()
                self._owner.keep(self)
                call.answered(200, self._known_headers, body)
                return
            self._untouched = False
            self._begin_answer()
        self._parse(data)
        if first and self._complete and self._keep_alive and data.startswith(_PLAIN) and self._known.learn(data, self._headers):
            self._known_headers = self._headers
        self._hand_over()

    def _parse(self, data: bytes) -> None:
        if not self.answering:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail("protocol", f"not HTTP: {error}")
            return
        if not self.answering and self._head_bytes > self._largest_head:
            self.fail("protocol", f"response headers of more than {self._largest_head} bytes")

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
            self._owner.keep(self)
        else:
            self.open = False
            if self._transport is not None:
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
        if self.answering:  # an interim answer never has one
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self.answering:
            self._complete = True
            # Asked now: the parser forgets it once the message is over.
            self._keep_alive = self._parser.should_keep_alive()
