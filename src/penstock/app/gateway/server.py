"""The listening socket, and uvicorn on it."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

_BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """Raises OSError when the port is taken; port 0 is any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror}") from error


class Server(uvicorn.Server):
    """Signals are ours, because a drain begins before uvicorn stops to accept; and it says when it listens."""

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
        config = uvicorn.Config(
            application,  # type: ignore[arg-type]  # an ASGI application
            http=protocol,
            loop="none",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=int(drain_seconds),
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        super().__init__(config)
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
