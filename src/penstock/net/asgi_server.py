"""uvicorn with the parts that every server of ours sets the same: no signal handlers, no logs of its own, and news of its start."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn


class AsgiServer(uvicorn.Server):
    """The process handles signals, because a drain begins before uvicorn stops to accept; `when_listening` is called once."""

    def __init__(self, application: Any, when_listening: Callable[[], object], **options: Any) -> None:
        """`application`: ASGI; `options`: of `uvicorn.Config`."""
        usual = {"lifespan": "off", "ws": "none", "log_config": None, "access_log": False, "server_header": False, "proxy_headers": False}
        super().__init__(uvicorn.Config(application, **usual | options))
        self._when_listening = when_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
