"""The listening socket, and uvicorn on it."""

import socket
from collections.abc import Callable
from pathlib import Path

from penstock.net.asgi_server import AsgiServer

_BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """Raises OSError when the port is taken; port 0 is any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror}") from error


class GatewayServer(AsgiServer):
    """Serves a gateway's connections, with TLS where there is a certificate."""

    def __init__(
        self,
        application: object,
        protocol: type,
        when_ready: Callable[[], object],
        *,
        drain_seconds: float,
        tls: tuple[Path, Path] | None,
    ) -> None:
        """`application`: ASGI; `protocol`: what a connection is; `tls`: certificate chain and key."""
        certificate, key = tls or (None, None)
        super().__init__(
            application,
            when_ready,
            http=protocol,
            loop="none",
            timeout_graceful_shutdown=int(drain_seconds),
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
