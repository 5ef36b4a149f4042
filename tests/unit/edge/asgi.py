"""One ASGI call without a server: a scope, the messages that a client sends, and what the application sent back."""

import json
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.domain.clock import ManualClock
from penstock.domain.ids import RequestIds, new_id
from penstock.edge.layers.services import ControlServices
from penstock.observe.metrics import GatewayMetrics


def control_services(**given: Any) -> ControlServices:
    """Services of which a layer needs only `given`, clock, metrics and ids; every other one is None and fails when it is used."""
    defaults: dict[str, Any] = {each.name: None for each in fields(ControlServices) if each.default is each.default_factory is MISSING}
    defaults |= {
        "metrics": GatewayMetrics(),
        "clock": ManualClock(),
        "new_id": new_id,
        "next_request_id": RequestIds().next,
        "uptime": lambda: 1.0,
        "version": "0.0.test",
    }
    return ControlServices(**defaults | given)


def http_scope(method: str = "GET", path: str = "/api/me", headers: dict[str, str] | None = None, **fields: Any) -> Scope:
    lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    usual = {"type": "http", "method": method, "path": path, "headers": lines, "state": {}, "client": ("127.0.0.1", 50_000)}
    return usual | fields


@dataclass
class Exchanged:
    """What an application sent in one call."""

    messages: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        status: int = next(message["status"] for message in self.messages if message["type"] == "http.response.start")
        return status

    @property
    def headers(self) -> dict[str, str]:
        start = next(message for message in self.messages if message["type"] == "http.response.start")
        return {name.decode(): value.decode() for name, value in start["headers"]}

    @property
    def json(self) -> Any:
        return json.loads(b"".join(message.get("body", b"") for message in self.messages if message["type"] == "http.response.body"))


async def call(app: ASGIApp, scope: Scope, *received: Message) -> Exchanged:
    """Without `received`: a request with an empty body, whose client then disconnects."""
    incoming = list(received or ({"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}))
    result = Exchanged()

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(message: Message) -> None:
        result.messages.append(message)

    await app(scope, receive, send)
    return result


class RecordingApp:
    """The application behind a layer: it notes each scope that reaches it, reads the body, and answers 204."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] != "http":
            return
        message = await receive()
        self.bodies.append(message.get("body", b""))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
