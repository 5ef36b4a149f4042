"""The inference routes, from parsed HTTP to the pipeline and back, without ASGI: no task and no future for a request."""

import asyncio
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from penstock.domain.call import Call
from penstock.domain.clock import Clock, SystemClock
from penstock.domain.errors import BadRequest, PenstockError, TooLarge, Unauthenticated
from penstock.domain.ids import RequestIds
from penstock.domain.inference import CLIENT_PATHS, Operation
from penstock.domain.ports import Inference, InflightRequest
from penstock.domain.principal import Principal
from penstock.edge.inference.connection_counts import ConnectionCounts, most_connections
from penstock.edge.inference.status_lines import STATUS_LINES
from penstock.edge.layers.cross_origin import CrossOrigin
from penstock.edge.layers.proxies import TrustedProxies
from penstock.net.outbox import Outbox
from penstock.serving.admission.addresses import AddressLimiter
from penstock.serving.admission.keyring import KeyRing, Pending
from penstock.wire.chat.requests import with_model
from penstock.wire.decimals import decimal
from penstock.wire.errors import error_body, error_headers

OPERATIONS: Mapping[bytes, Operation] = {path.encode("ascii"): operation for path, operation in CLIENT_PATHS.items()}
_TENSOR_PATH: Final = re.compile(rb"/v1/models/([^?]+)/infer")
VALID_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_JSON: Final = b"content-type: application/json\r\n"
_CLOSE: Final = b"connection: close\r\n"
_METADATA_HEADERS: Final = frozenset(
    {
        b"content-encoding",
        b"x-request-id",
        b"x-stainless-read-timeout",
        b"x-stainless-timeout",
        b"x-stainless-retry-count",
        b"idempotency-key",
    }
)
_DISCARD_FACTOR: Final = 8
"""A body that is too large is read and dropped up to so many times the limit, because a client that is still sending may not read."""


@dataclass(slots=True)
class FastLane:
    """What every exchange needs; one for the process."""

    inference: Inference
    keys: KeyRing
    addresses: AddressLimiter
    ids: RequestIds
    clock: Clock
    max_body_bytes: int = 10 << 20
    max_inflated_bytes: int = 20 << 20
    outbox: Outbox = field(default_factory=Outbox)
    cross_origin: CrossOrigin = field(default_factory=CrossOrigin)
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    connections: ConnectionCounts = field(default_factory=lambda: ConnectionCounts(SystemClock(), most_connections()))
    root_path: bytes = b""
    """Under which path a proxy serves this gateway, without a slash at the end."""
    date: bytes = b""
    """The `date` header line, renewed once a second."""


class HttpConnection(Protocol):
    """The connection that an exchange belongs to."""

    send: Callable[[bytes], None]

    def close_after_flush(self) -> None:
        """What has just been sent was the last answer."""
        ...

    def on_response_complete(self) -> None: ...


class RequestHead:
    """What the edge takes from the head of an inference request; the same object when the same head comes again."""

    __slots__ = ("authorization", "cross_origin", "has_metadata", "headers", "model", "operation")

    def __init__(self, operation: Operation, headers: Mapping[bytes, bytes], model: str = "", cross_origin: bytes = b"") -> None:
        """`model`: named by the path, and not by the body. `cross_origin`: the lines with which the answer permits the page to read it."""
        self.cross_origin = cross_origin
        self.model = model
        self.operation = operation
        self.headers = headers
        self.authorization = headers.get(b"authorization")
        self.has_metadata = bool(model) or not headers.keys().isdisjoint(_METADATA_HEADERS)
        """Whether it says more than who asks and what."""


class ClientExchange:
    """One request and its answer on a connection; implements `domain.ports.Reply`.

    It also wears the few attributes by which uvicorn's connection handling knows a request: `response_complete`, `keep_alive`.
    """

    # What most requests never set costs them nothing: it is looked up on the class.
    _body = b""
    _more: list[bytes] | None = None
    """What came after the first read; most bodies come in one."""
    _size = 0
    _refusal: PenstockError | None = None
    _flight: InflightRequest | None = None
    _resolving: asyncio.Task[None] | None = None
    _start = b""
    """The head of the answer, kept back until the first bytes of its body."""
    _chunked = True
    _complete = False
    _paused = False
    its_turn = False
    """Whether the requests before it on this connection have been answered."""
    keep_alive = True
    response_complete = False

    def __init__(self, lane: FastLane, connection: HttpConnection, head: RequestHead, address: str) -> None:
        self._lane = lane
        self._connection = connection
        self._head = head
        self._address = address

    def last_on_connection(self, *, http_11: bool) -> None:
        """The client wants the connection to end with the answer; before HTTP/1.1 it does not know chunks either."""
        self.keep_alive = False
        self._chunked = http_11

    # the request comes in

    def body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._lane.max_body_bytes:
            if not self._body:
                self._body = data
            elif self._more is None:
                self._more = [data]
            else:
                self._more.append(data)
            return
        self._body, self._more = b"", None
        self._refusal = self._too_large()
        if self._size > self._lane.max_body_bytes * _DISCARD_FACTOR and self.its_turn and not self.response_complete:
            self.keep_alive = False
            self._refuse_now(self._refusal)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The request body is larger than {self._lane.max_body_bytes} bytes.", retry=False)

    def whole(self, body: bytes) -> None:
        """The request came in one piece, and it is its turn."""
        self.its_turn = True
        self._complete = True
        if len(body) <= self._lane.max_body_bytes:
            self._body = body
        else:
            self._refusal = self._too_large()
        self._run()

    def complete(self) -> None:
        """The whole body is here."""
        self._complete = True
        if self.its_turn:
            self._run()

    def turn(self) -> None:
        """The requests before it on this connection have been answered."""
        self.its_turn = True
        if self._complete:
            self._run()

    def _run(self) -> None:
        if self.response_complete:
            return
        lane = self._lane
        try:
            if self._refusal is not None:
                raise self._refusal
            found = lane.keys.find(self._head.authorization, self._address)
            if isinstance(found, Pending):
                self._ask(found)
            else:
                self._call_pipeline(found)
        except Unauthenticated as error:
            self._refuse_unknown(error)
        except PenstockError as error:
            self._refuse_now(error)

    def _refuse_unknown(self, error: Unauthenticated) -> None:
        """Counted by address: a client that tries keys gets fewer and fewer answers."""
        try:
            self._lane.addresses.check(self._address, False)
        except PenstockError as too_many:
            self._refuse_now(too_many)
        else:
            self._refuse_now(error)

    def _ask(self, pending: Pending) -> None:
        """A key that was never seen is asked for in the store. It costs its address nothing when it turns out to be good."""
        if not pending.asked:
            self._lane.addresses.begin_lookup(self._address)
            pending.ask()
        self._resolving = asyncio.get_running_loop().create_task(self._resolve(pending))

    async def _resolve(self, pending: Pending) -> None:
        try:
            principal = await pending.resolve()
            self._resolving = None
            self._lane.addresses.end_lookup(self._address)
            self._call_pipeline(principal)
        except Unauthenticated as error:
            self._refuse_unknown(error)
        except PenstockError as error:
            self._refuse_now(error)

    def _call_pipeline(self, principal: Principal) -> None:
        """Raises PenstockError for what the headers say wrong."""
        lane = self._lane
        head = self._head
        body = self._body if self._more is None else b"".join((self._body, *self._more))
        call = Call(lane.ids.next(lane.clock.time()), head.operation, body)
        if head.has_metadata:
            self._read_metadata(call)
        # The flight has what it needs: a stream may last for minutes.
        self._body, self._more = b"", None
        flight = lane.inference.run(principal, call, self)
        if not self.response_complete:
            self._flight = flight
            if self._paused:
                flight.pause()

    def _read_metadata(self, call: Call) -> None:
        headers = self._head.headers
        encoding = headers.get(b"content-encoding", b"identity")
        if encoding != b"identity" or self._head.model:
            call.prepare = self._prepared
        call.client_request_id = self._client_request_id()
        timeout = headers.get(b"x-stainless-read-timeout") or headers.get(b"x-stainless-timeout")
        if timeout is not None:
            call.timeout_seconds = positive_seconds(timeout)
        retries = headers.get(b"x-stainless-retry-count")
        if retries is not None and retries.isdigit():
            call.retry_count = min(int(retries[:4]), 9999)
        name = headers.get(b"idempotency-key")
        if name is not None:
            call.idempotency_key = name.decode("latin-1")

    def _prepared(self, body: bytes) -> bytes:
        head = self._head
        encoding = head.headers.get(b"content-encoding", b"identity")
        if encoding != b"identity":
            body = inflated(body, encoding, self._lane.max_inflated_bytes)
        return with_model(body, head.model) if head.model else body

    def _client_request_id(self) -> str:
        given = self._head.headers.get(b"x-request-id")
        return given.decode("ascii") if given is not None and VALID_REQUEST_ID.fullmatch(given) else ""

    # the answer goes out

    def refuse(self, error: PenstockError, headers: bytes) -> None:
        self.send(error.status, _JSON + error_headers(error) + headers, error_body(error))

    def _refuse_now(self, error: PenstockError) -> None:
        """Before there was a flight: the request has no id yet."""
        if self.response_complete:
            return
        request_id = self._client_request_id() or self._lane.ids.next(self._lane.clock.time())
        known = request_id.encode("ascii")
        self.refuse(error, b"x-request-id: %b\r\nx-penstock-decision: %b;refused=%b\r\n" % (known, known, error.code.encode("ascii")))

    def send(self, status: int, headers: bytes, body: bytes) -> None:
        self._connection.send(
            b"%b%b%b%b%bcontent-length: %b\r\n\r\n%b"
            % (
                STATUS_LINES[status],
                self._lane.date,
                headers,
                self._head.cross_origin,
                b"" if self.keep_alive else _CLOSE,
                decimal(len(body)),
                body,
            )
        )
        self._over()

    def start(self, status: int, headers: bytes) -> None:
        if not self._chunked:
            self.keep_alive = False
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        close = b"" if self.keep_alive else _CLOSE
        # Those follow at once: one packet instead of two.
        own = self._head.cross_origin
        self._start = b"%b%b%b%b%b%b\r\n" % (STATUS_LINES[status], self._lane.date, headers, own, framing, close)

    def write(self, data: bytes) -> None:
        if not data:
            return
        if self._chunked:
            data = b"%b%x\r\n%b\r\n" % (self._start, len(data), data)
        elif self._start:
            data = self._start + data
        self._start = b""
        self._connection.send(data)

    def end(self) -> None:
        if self._chunked or self._start:
            self._connection.send(self._start + (b"0\r\n\r\n" if self._chunked else b""))
        self._over()

    def _over(self) -> None:
        self.response_complete = True
        if self._flight is not None:
            self._flight = None
        if not (self.keep_alive and self._complete):
            # A body that is still coming cannot be told from the next request.
            self._connection.close_after_flush()
        self._connection.on_response_complete()

    # what the connection feels

    def client_left(self) -> None:
        if self.response_complete:
            return
        self.response_complete = True
        if self._resolving is not None:
            self._resolving.cancel()
        if self._flight is not None:
            self._flight.cancel()

    def pause(self) -> None:
        self._paused = True
        if self._flight is not None:
            self._flight.pause()

    def resume(self) -> None:
        self._paused = False
        if self._flight is not None:
            self._flight.resume()


def operation_of(url: bytes) -> tuple[Operation | None, str]:
    """What a path asks for, and the model that it names, if it does; None: it is not for this lane."""
    path = url.partition(b"?")[0]
    if (operation := OPERATIONS.get(path)) is not None:
        return operation, ""
    if (named := _TENSOR_PATH.fullmatch(path)) is not None:
        return Operation.INFER, unquote_to_bytes(named[1]).decode("utf-8", "replace")
    return None, ""


def positive_seconds(text: bytes) -> float | None:
    """A client's time-out header; None for what is not a positive number."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds < 1e9 else None


def inflated(body: bytes, encoding: bytes, limit: int) -> bytes:
    """A gzip or deflate body, unpacked. Raises BadRequest, or TooLarge before more than `limit` bytes have been made."""
    if encoding.lower() not in (b"gzip", b"x-gzip", b"deflate"):
        raise BadRequest("The content-encoding must be gzip, deflate or identity.")
    unpacker = zlib.decompressobj(wbits=47 if encoding.lower() != b"deflate" else 15)
    try:
        text = unpacker.decompress(body, limit + 1)
    except zlib.error:
        raise BadRequest("The request body cannot be unpacked.") from None
    if len(text) > limit:
        raise TooLarge(f"The request body unpacks to more than {limit} bytes.", retry=False)
    if not unpacker.eof:
        raise BadRequest("The compressed request body is not whole.")
    return text
