"""The listening socket, and uvicorn on it."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from penstock.app.settings import SettingsError
from penstock.net.asgi_server import AsgiServer

_BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """Raises OSError when the port is taken; port 0 is any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror}") from error


def check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Raises SettingsError for files that are no certificate and its key."""
    if certificate is None or key is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise SettingsError(f"tls_cert {certificate} and tls_key {key} are not a certificate and its key (PEM): {reason}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted, and a gateway asks for no password")


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
