"""A connection through an HTTP proxy: as it is for http, in a tunnel (CONNECT) for https."""

import asyncio
import base64
import ssl
from dataclasses import dataclass
from typing import cast
from urllib.parse import unquote, urlsplit

from penstock.net.connection import ClientConnection

_LARGEST_HEAD = 16 * 1024


class ProxyRefused(OSError):
    """The proxy did not open the tunnel."""


@dataclass(frozen=True, slots=True)
class Proxy:
    host: str
    port: int
    authorization: str
    """The value of `proxy-authorization`; empty: none."""

    @classmethod
    def of(cls, url: str) -> "Proxy":
        """Raises ValueError for anything but `http://[USER:PASSWORD@]HOST[:PORT]`."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.query or parts.path.strip("/"):
            raise ValueError("a proxy is written http://HOST:PORT")
        authorization = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
        return cls(parts.hostname, parts.port or 3128, authorization)


class _Tunnel(asyncio.Protocol):
    """Until the proxy has answered."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._head = b""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self.opened.done():
            return
        if b"\r\n\r\n" not in self._head:
            if len(self._head) > _LARGEST_HEAD:
                self.opened.set_exception(ProxyRefused("the proxy's answer has no end"))
            return
        status = self._head.split(b"\r\n", 1)[0].split(b" ", 2)
        if len(status) > 1 and status[1] == b"200":
            self.opened.set_result(None)
        else:
            said = b" ".join(status[1:])[:80].decode("latin-1")
            self.opened.set_exception(ProxyRefused(f"the proxy refused the tunnel: {said}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ProxyRefused("the proxy closed the connection"))


async def open_tunnel(proxy: Proxy, host: str, port: int, tls: ssl.SSLContext, connection: ClientConnection) -> None:
    """Connect `connection` to a server behind the proxy. Raises OSError."""
    loop = asyncio.get_running_loop()
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"host: {authority}"]
    if proxy.authorization:
        lines.append(f"proxy-authorization: {proxy.authorization}")
    request = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
    transport, tunnel = await loop.create_connection(lambda: _Tunnel(request), proxy.host, proxy.port)
    try:
        await tunnel.opened
        secured = await loop.start_tls(transport, connection, tls, server_hostname=host)
    except BaseException:
        transport.abort()
        raise
    if secured is None:
        raise ProxyRefused("the connection was closed before TLS began")
    connection.connection_made(secured)
