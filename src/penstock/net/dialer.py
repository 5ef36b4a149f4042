"""Connections to one address: idle ones are kept and used again, the most recently used first."""

import asyncio
import ssl
from typing import Final
from urllib.parse import urlsplit

from penstock.domain.ports import ResponseSink, TransportFailure
from penstock.net.connection import ClientConnection
from penstock.net.outbox import Outbox
from penstock.net.proxy import Proxy, open_tunnel
from penstock.net.reach import Reach

LARGEST_RESPONSE_HEAD_BYTES: Final = 64 * 1024


class DialedCall:
    """One request to an address: a connection for it, and one silent second try when a kept connection turned out dead."""

    connection: ClientConnection | None = None
    _connecting: asyncio.Task[None] | None = None
    _cancelled = False
    _paused = False

    def __init__(self, dialer: "Dialer", request: bytes, sink: ResponseSink) -> None:
        self._dialer = dialer
        self._request = request
        self._sink = sink

    def dial(self) -> None:
        """On a fresh connection."""
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            connection = await self._dialer.connect()
        except (OSError, ValueError) as error:  # a name that no resolver would take is a ValueError
            if not self._cancelled:
                kind = "timeout" if isinstance(error, TimeoutError) else "connect"
                self._sink.failed(TransportFailure(kind, f"{type(error).__name__}: {error}"))
            return
        finally:
            self._connecting = None
        if self._cancelled or not connection.usable:
            connection.abandon()
            if not self._cancelled:
                self._sink.failed(TransportFailure("reset", "closed as soon as it was open"))
            return
        self.connection = connection
        connection.start(self._request, self, self._sink)
        if self._paused:
            connection.pause()

    # the exchange's owner

    def cancel(self) -> None:
        self._cancelled = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self.connection is not None:
            self.connection.abandon()
            self.connection = None

    def pause(self) -> None:
        self._paused = True
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        self._paused = False
        if self.connection is not None:
            self.connection.resume()

    # the connection

    def answered(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.connection = None  # as in `end`
        self._sink.answered(status, headers, body)

    def end(self) -> None:
        # It may be carrying another request already: a late `cancel` must not touch it.
        self.connection = None
        self._sink.end()

    def failed(self, reason: TransportFailure) -> None:
        connection, self.connection = self.connection, None
        if reason.kind == "reset" and connection is not None and connection.exchanges > 1 and not connection.answering:
            # The server closed a kept connection while our request was on its way: it has not seen it. The second try gets a
            # fresh one: a server that breaks every connection must not see a request as often as there are kept ones.
            self.dial()
            return
        self._sink.failed(reason)


class Dialer:
    """Dials one base URL (`http://host:port` or `https://...`)."""

    def __init__(
        self,
        base_url: str,
        connect_seconds: float,
        *,
        tls: ssl.SSLContext | None = None,
        idle_connections: int = 512,
        outbox: Outbox | None = None,
        reach: Reach | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """`outbox`: of the loop, shared with everything else that writes in it; None: one of its own. `reach`: None allows any address."""
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"not an http(s) URL: {base_url!r}")
        self._host = address.hostname
        self._port = address.port or (443 if address.scheme == "https" else 80)
        self._tls = (tls or ssl.create_default_context()) if address.scheme == "https" else None
        self._connect_seconds = connect_seconds
        self._idle_limit = idle_connections
        self._outbox = outbox or Outbox()
        self._reach = reach
        self._idle: list[ClientConnection] = []
        self._open: set[ClientConnection] = set()
        self._proxy = proxy
        self.path_prefix = address.path.rstrip("/")
        self.host_header = address.netloc.rpartition("@")[2]
        self.origin = ""
        """What a request's target begins with: through a proxy without a tunnel the whole address, otherwise nothing."""
        if proxy is not None and self._tls is None:
            self.origin = f"http://{self.host_header}"

    def call(self, request: bytes, sink: ResponseSink) -> DialedCall:
        call = DialedCall(self, request, sink)
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.open:
                call.connection = connection
                connection.start(request, call, sink)
                return call
        call.dial()
        return call

    async def connect(self) -> ClientConnection:
        """A fresh connection. Raises OSError (also for TLS and a time-out), ValueError for an impossible name."""
        loop = asyncio.get_running_loop()
        proxy, host, port = self._proxy, self._host, self._port
        async with asyncio.timeout(self._connect_seconds):
            if proxy is not None and self._tls is not None:
                connection = ClientConnection(self, LARGEST_RESPONSE_HEAD_BYTES, self._outbox)
                await open_tunnel(proxy, host, port, self._tls, connection)
            else:
                if proxy is not None:
                    host, port = proxy.host, proxy.port
                elif self._reach is not None:
                    # The address that was checked is the one that is dialled.
                    host = await self._reach.address_of(host, port)
                _, connection = await loop.create_connection(
                    lambda: ClientConnection(self, LARGEST_RESPONSE_HEAD_BYTES, self._outbox),
                    host,
                    port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls is not None else None,
                )
        self._open.add(connection)
        return connection

    def keep(self, connection: ClientConnection) -> None:
        if len(self._idle) < self._idle_limit:
            self._idle.append(connection)
        else:
            connection.abandon()

    def gone(self, connection: ClientConnection) -> None:
        self._open.discard(connection)

    @property
    def busy(self) -> bool:
        """Whether any exchange is under way."""
        return any(connection.busy for connection in self._open)

    def check(self, first_byte_seconds: float, between_chunks_seconds: float) -> None:
        """Break off what has been silent for too long; called about once a second.

        A paused exchange is the reader's fault, not the server's.
        """
        now = asyncio.get_running_loop().time()
        for connection in [each for each in self._open if each.busy and not each.paused]:
            if not connection.silent_since:
                connection.silent_since = now
                continue
            allowed = between_chunks_seconds if connection.answering else first_byte_seconds
            if now - connection.silent_since > allowed:
                where = "in mid-answer" if connection.answering else "before the first byte"
                connection.fail("timeout", f"silent for {allowed:g} s {where}")

    def close(self) -> None:
        """Close idle connections now; those in use close with their exchange."""
        self._idle_limit = 0
        for connection in self._idle:
            connection.abandon()
        self._idle.clear()
