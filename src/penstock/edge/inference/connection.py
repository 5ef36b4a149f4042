"""One client connection: uvicorn's handling, with the inference routes kept to the fast lane and the same hardening for both.

Everything that can be done before routing is done here: sizes of heads, slow clients, requests that two servers could read
differently. Time-outs need no timer of their own: a sweep once a second looks at all connections.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from penstock.domain.errors import BadHttp, HeadersTooLarge, PenstockError, RequestTimeout
from penstock.edge.inference.connection_state import ANSWER, BODY, HEAD, IDLE, ConnectionLimits
from penstock.edge.inference.fastlane import OPERATIONS, ClientExchange, FastLane, RequestHead, operation_of
from penstock.edge.inference.request_line import origin_form, unusable_framing, unusable_target
from penstock.edge.inference.status_lines import STATUS_LINES
from penstock.edge.layers.problems import PROBLEM_TYPE, problem
from penstock.edge.layers.proxies import forwarded_scheme
from penstock.net.known_head import KnownHead
from penstock.net.outbox import Outlet
from penstock.wire.errors import error_body, error_headers

_UPLOAD_BYTES_PER_SECOND = 64 << 10
"""A long body outside the fast lane (a file) may take as long as it needs at this pace, beyond `body_seconds`."""
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})
_ONCE = frozenset({b"authorization", b"host", b"content-type", b"content-encoding", b"idempotency-key"})
"""Headers that two readers of one request could understand differently when they come twice."""


class PenstockConnection(HttpToolsProtocol):
    """`lane` and `limits` are set on a subclass for each server (`connection_class`)."""

    lane: ClassVar[FastLane]
    limits: ClassVar[ConnectionLimits]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.url = b""
        self.stage = HEAD
        self.since = 0.0
        """Loop time at which the sweep first saw the connection in this stage; 0: it has not yet."""
        self._head_read = 0
        """Bytes read since the head began: no less than the head's size."""
        self._body_read = 0
        """Of a body that is not for the fast lane."""
        self._closing = False
        """An answer that ends the connection is on its way: what still comes is not read."""
        self._address = ""
        """Whose request it is: the peer's, or what a trusted proxy says."""
        self._peer = ""
        self.peer_is_proxy = False
        self._counted: str | None = None
        """The address as which `lane.connections` counts this one; None: it was refused."""
        self.outlet: Outlet
        """For every answer of the fast lane. uvicorn's own go past it, but begin in a later turn of the loop."""
        self.send: Callable[[bytes], None]
        self._incoming: ClientExchange | None = None
        """The exchange whose body is coming in; None: that of an ASGI request, or none."""
        self._offered_upgrade = False
        """The head that has come offers an upgrade and announces a body."""
        self._answering: ClientExchange | None = None
        """The exchange whose turn it is, or was last; `cycle` may be a later one, of which the head has come already."""
        self._known = KnownHead()
        self._known_head: RequestHead
        """Of the head that `_known` has learned."""
        self._first_read = b""
        """What the parser is given from the begin of a request; empty when it is in the middle of one."""

    # uvicorn's `cycle` is an ASGI request or one of our exchanges; its annotations know only the former.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn itself narrows it
        super().connection_made(transport)
        self._address = self._peer = self.client[0] if self.client else ""
        self.peer_is_proxy = self.lane.proxies.trusts(self._peer)
        self.outlet = Outlet(self.lane.outbox, transport.write)
        self.send = self.outlet.send
        transport.set_write_buffer_limits(high=self.limits.write_buffer_bytes)
        self._count(self._peer)

    def _count(self, address: str) -> bool:
        """Whether the address may have another connection; otherwise the client is told why, and this one ends."""
        error = self.lane.connections.opened(address, proxy=self.peer_is_proxy)
        if error is None:
            self._counted = address
            return True
        self._reject(error)
        return False

    def came_from(self, address: str) -> bool:
        """The load balancer has named its client, for all requests of this connection. False: that one may have no more connections."""
        self.peer_is_proxy = False
        if self._counted is not None:
            self.lane.connections.closed(self._counted)
            self._counted = None
        self._address, self.client = address, (address, 0)
        return self._count(address)

    def connection_lost(self, exc: Exception | None) -> None:
        self.outlet.close()
        if self._counted is not None:
            self.lane.connections.closed(self._counted)
            self._counted = None
        if self._answering is not None:
            self._answering.client_left()
            self._answering = None
        cycle: object = self.cycle
        if isinstance(cycle, ClientExchange):
            self.cycle = None  # type: ignore[assignment]  # uvicorn's own start value
        while self.pipeline:
            self.pipeline.pop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self.stage is IDLE:
            body = self._known.body(data)
            if body is not None:
                # A whole request, with a head that the parser has accepted on this connection before.
                exchange = ClientExchange(self.lane, self, self._known_head, self._address)
                self.cycle = exchange  # type: ignore[assignment]  # see above
                self._incoming = self._answering = exchange
                self.stage = ANSWER
                exchange.whole(body)
                return
        self._first_read = data if self.stage is IDLE or not self._head_read else b""
        self._head_read += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self._closing:
                self._reject(BadHttp(f"Invalid HTTP request: {_reason(error)}."))
            return
        except httptools.HttpParserUpgrade as upgrade:
            # An offer that we do not take up (RFC 9110, 7.8; Java's client makes it by default): the request is an ordinary one.
            if rest := self._without_upgrade() + data[upgrade.args[0] :]:
                self.data_received(rest)
            return
        if self.stage is HEAD and self._head_read > self.limits.max_header_bytes and not self._closing:
            # The head has not ended: a single line without an end would never reach `on_header`.
            self._reject_head()

    def _without_upgrade(self) -> bytes:
        """The head of a request with a body and an offer that we do not take up, as it would be without it; else nothing."""
        if not self._offered_upgrade:
            return b""
        self._offered_upgrade = False
        first = b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)
        lines = b"".join(b"%b: %b\r\n" % each for each in self.headers if each[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        return first + lines + b"\r\n"

    # the parser's side

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        if self.stage is ANSWER:
            # Pipelined: what was read so far is of the request before it.
            self._head_read = 0
        self.stage = HEAD
        self.since = 0.0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._closing:
            return
        if not 0 < self._head_read <= self.limits.max_header_bytes and self._head_size() > self.limits.max_header_bytes:
            self._reject_head()
            return
        self.stage = BODY
        self.since = 0.0
        self._body_read = 0
        operation, model = OPERATIONS.get(self.url), ""
        if operation is None:
            self.url = origin_form(self.url, self.lane.root_path)
            operation, model = operation_of(self.url)
            if not self.url.startswith(b"/"):
                self._reject(unusable_target(self.parser.get_method()))
                return
        headers = dict(self.headers)
        http_11 = True
        if len(headers) != len(self.headers) and (name := self._repeated()):
            self._reject(BadHttp(f"The header '{name}' may come only once."))
            return
        if b"transfer-encoding" in headers and not self._framing_is_usable():
            return
        if b"connection" in headers or not self.parser.should_keep_alive():
            # Only here can it be another version or an upgrade: asking for it always would cost every request.
            version = self.parser.get_http_version()
            http_11 = version == "1.1"
            if version not in ("1.0", "1.1"):
                self._reject(BadHttp("Only HTTP/1.0 and HTTP/1.1 are spoken here."))
                return
            if b"upgrade" in headers and not headers.keys().isdisjoint(_BODY_HEADERS):
                # The parser takes what follows for another protocol, and so would not give us the body.
                self._offered_upgrade = True
                return
        if http_11 and b"host" not in headers:
            # RFC 9112, 3.2: the server cannot know what it is for.
            self._reject(BadHttp("An HTTP/1.1 request needs the header 'host'."))
            return
        if self.peer_is_proxy:
            self._address = self.lane.proxies.client(self._peer, self.headers)
        if operation is None or self.parser.get_method() != b"POST":
            self._incoming = None
            self._hand_to_asgi()
            return
        policy = self.lane.cross_origin
        head = RequestHead(operation, headers, model, b"" if policy.off else policy.lines(headers.get(b"origin")))
        exchange = ClientExchange(self.lane, self, head, self._address)
        if not http_11 or not self.parser.should_keep_alive():
            exchange.last_on_connection(http_11=http_11)
        elif self._may_be_learned() and self._known.learn(self._first_read, self.headers):
            self._known_head = head
        self._give_turn(exchange)

    def _give_turn(self, exchange: ClientExchange) -> None:
        """At once, or when the requests before it on this connection have been answered."""
        previous: RequestResponseCycle | None = self.cycle
        self.cycle = exchange  # type: ignore[assignment]  # see above
        self._incoming = exchange
        if previous is None or previous.response_complete:
            if self.expect_100_continue:
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._answering = exchange
            exchange.its_turn = True
        else:
            # Pipelined: answered in order, and nothing more is read until then.
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))  # type: ignore[arg-type]  # see above

    def _framing_is_usable(self) -> bool:
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        error = unusable_framing(codings, self.parser.get_http_version())
        if error is not None:
            self._reject(error)
        return error is None

    def _may_be_learned(self) -> bool:
        """Whether the head that has come may stand for the next ones. Behind a proxy each has another client's address."""
        return bool(self._first_read) and not self.expect_100_continue and not self.peer_is_proxy

    def _hand_to_asgi(self) -> None:
        """uvicorn makes the scope at the begin of a message; we only now know that one is needed."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        if self.peer_is_proxy:
            self.scope["client"] = (self._address, 0)
            if scheme := forwarded_scheme(headers):
                self.scope["scheme"] = scheme
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._closing:
            return
        if self._incoming is not None:
            self._incoming.body(body)
        else:
            self._body_read += len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._closing or self._offered_upgrade:
            return
        self.stage = ANSWER
        self.since = 0.0
        if self._incoming is not None:
            self._incoming.complete()
            return
        super().on_message_complete()
        if self.cycle.response_complete:
            # It was answered before its body had come.
            self._await_next()

    # answers

    def close_after_flush(self) -> None:
        """The answer that has just been sent was the last one."""
        self._closing = True
        self.outlet.flush()
        self.transport.close()

    def shutdown(self) -> None:
        self.outlet.flush()
        super().shutdown()

    def on_response_complete(self) -> None:
        self.since = 0.0
        if self.stage is ANSWER:
            self.stage = IDLE
            self._head_read = 0
        # Asked only where it matters: this runs for every request.
        if (self.flow.read_paused or self.pipeline) and not self.transport.is_closing():
            if self.flow.read_paused:
                self.flow.resume_reading()
            if self.pipeline:
                cycle, app = self.pipeline.pop()
                self._start_asgi_task(cycle, app)

    def _await_next(self) -> None:
        self.stage = IDLE
        self.since = 0.0
        self._head_read = 0

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        pipelined: object = cycle
        if self.stage is IDLE:
            self.stage = ANSWER
        if isinstance(pipelined, ClientExchange):
            self._answering = pipelined
            pipelined.turn()
        else:
            super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._answering is not None:
            self._answering.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._answering is not None:
            self._answering.resume()

    # limits

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _repeated(self) -> str:
        """A header that may not, and did come twice."""
        names = [name for name, _ in self.headers if name in _ONCE]
        return next((name.decode("ascii") for name in _ONCE if names.count(name) > 1), "")

    def _earlier_answer_under_way(self) -> bool:
        """Whether the client still gets the answer to a request before the one that is coming in."""
        cycle: RequestResponseCycle | None = self.cycle
        return bool(self.pipeline) or (self.stage is not BODY and cycle is not None and not cycle.response_complete)

    def _reject_head(self) -> None:
        self._reject(HeadersTooLarge(f"The request's headers are larger than {self.limits.max_header_bytes} bytes.", retry=False))

    def overdue(self, now: float) -> None:
        """Called once a second: end what has waited for the client for too long."""
        if self.stage is ANSWER or self.transport.is_closing() or self._earlier_answer_under_way():
            return
        if not self.since:
            self.since = now
            return
        waited, limits = now - self.since, self.limits
        if self.stage is IDLE and waited > limits.idle_seconds:
            self.transport.close()
        elif self.stage is HEAD and waited > limits.header_seconds:
            self._reject(RequestTimeout("The request's headers did not arrive in time."))
        elif self.stage is BODY and waited > limits.body_seconds + self._body_read / _UPLOAD_BYTES_PER_SECOND:
            if self.cycle.response_complete:
                self.transport.close()
                return
            self._reject(RequestTimeout("The request's body did not arrive in time."))

    def _reject(self, error: PenstockError) -> None:
        """Answer a request that cannot be told from the next one, and close."""
        self._closing = True
        if self._earlier_answer_under_way():
            # Another one in the middle of it would garble it.
            self.outlet.flush()
            self.transport.close()
            return
        request_id = self.lane.ids.next(self.lane.clock.time())
        control = self.url.startswith(b"/api") if self.url else False
        body = msgspec.json.encode(problem(error, request_id)) if control else error_body(error)
        kind = PROBLEM_TYPE.encode("ascii") if control else b"application/json"
        known, origin = request_id.encode("ascii"), dict(self.headers or ()).get(b"origin")
        further = error_headers(error) + self.lane.cross_origin.lines(origin)
        self.send(
            b"%b%bcontent-type: %b\r\nx-request-id: %b\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINES[error.status], self.lane.date, kind, known, further, len(body), body)
        )
        self.outlet.flush()
        self.transport.close()


def _reason(error: httptools.HttpParserError) -> str:
    text = str(error)
    return text[:100] if text.isprintable() and text else "it cannot be parsed"
