"""A connection that a trusted load balancer opens with a header of the PROXY protocol: it names the client before the first request."""

import asyncio
from collections.abc import Iterable
from email.utils import formatdate
from typing import Any

import structlog

from penstock.edge.inference.connection import PenstockConnection
from penstock.edge.inference.connection_state import ConnectionLimits
from penstock.edge.inference.fastlane import FastLane
from penstock.edge.layers.proxies import PROXY_PROTOCOL, NotProxyProtocol, read_proxy_header

log = structlog.get_logger("penstock.connections")


class ProxiedConnection(PenstockConnection):
    """From addresses that are not trusted it expects no header."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._preface: bytes | None = None
        """What has come of the header; None: none is expected any more."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn itself narrows it
        super().connection_made(transport)
        if self.peer_is_proxy:
            self._preface = b""

    def data_received(self, data: bytes) -> None:
        if self._preface is None:
            super().data_received(data)
            return
        self._preface += data
        try:
            found = read_proxy_header(self._preface)
        except NotProxyProtocol:
            log.warning("proxy_header_missing", peer=self.client[0] if self.client else "")
            self.transport.close()
            return
        if found is None:
            return
        address, size = found
        rest, self._preface = self._preface[size:], None
        if address is not None and not self.came_from(address):
            return
        if rest:
            super().data_received(rest)


def connection_class(lane: FastLane, limits: ConnectionLimits) -> type[PenstockConnection]:
    """The protocol class for one server (uvicorn's `http=`)."""
    base = ProxiedConnection if lane.proxies.source == PROXY_PROTOCOL and not lane.proxies.off else PenstockConnection
    return type("BoundConnection", (base,), {"lane": lane, "limits": limits})


def sweep(connections: Iterable[object], lane: FastLane, now: float) -> None:
    """Once a second: renew the date, end what is overdue."""
    lane.date = f"date: {formatdate(lane.clock.time(), usegmt=True)}\r\n".encode("ascii")
    for connection in list(connections):
        if isinstance(connection, PenstockConnection):
            connection.overdue(now)
