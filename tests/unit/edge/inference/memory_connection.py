"""A client connection in memory: bytes in, bytes out, and an inference that answers as it is told."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from penstock.domain.call import Call
from penstock.domain.clock import ManualClock
from penstock.domain.errors import PenstockError
from penstock.domain.ids import RequestIds
from penstock.domain.ports import Reply
from penstock.domain.principal import Principal
from penstock.edge.inference.connection import PenstockConnection
from penstock.edge.inference.connection_counts import ConnectionCounts
from penstock.edge.inference.connection_state import ConnectionLimits
from penstock.edge.inference.fastlane import FastLane
from penstock.edge.inference.proxied_connection import connection_class
from penstock.edge.layers.cross_origin import CrossOrigin
from penstock.edge.layers.proxies import TrustedProxies
from penstock.serving.admission.addresses import AddressLimiter
from penstock.serving.admission.keyring import KeyRing
from tests.unit.net.memory_transport import Wire
from tests.unit.serving.admission.principals import SECRET_KEY, MemoryAccounts

CHAT = "/v1/chat/completions"
ANSWER = b'{"object":"chat.completion"}'


class ClientWire(Wire):
    """A transport of which the peer's address is known."""

    def __init__(self) -> None:
        super().__init__()
        self.wrote = asyncio.Event()

    def write(self, data: Any) -> None:
        super().write(data)
        self.wrote.set()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.7", 50_000), "sockname": ("127.0.0.1", 8000)}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.write_buffer_bytes = high


@dataclass
class ScriptedInference:
    """Answers at once with `ANSWER`, unless `hold` keeps the replies for the test to answer."""

    hold: bool = False
    calls: list[Call] = field(default_factory=list)
    principals: list[Principal] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """What the connection told the requests: cancel, pause, resume."""

    def run(self, principal: Principal, call: Call, reply: Reply) -> "ScriptedInference":
        if call.prepare is not None:
            try:
                call.body = call.prepare(call.body)
            except PenstockError as error:
                reply.refuse(error, b"")
                return self
        self.calls.append(call)
        self.principals.append(principal)
        self.replies.append(reply)
        if not self.hold:
            reply.send(200, b"content-type: application/json\r\n", ANSWER)
        return self

    def cancel(self) -> None:
        self.told.append("cancel")

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")


@dataclass(frozen=True)
class HttpAnswer:
    status: int
    headers: dict[str, str]
    body: bytes


class MemoryConnection:
    """One connection of a client, with a key that the gateway accepts."""

    def __init__(
        self,
        *,
        hold: bool = False,
        max_body_bytes: int = 1000,
        per_minute: int = 1000,
        origins: tuple[str, ...] = (),
        proxies: TrustedProxies | None = None,
        counts: ConnectionCounts | None = None,
        **limits: Any,
    ) -> None:
        self.clock = ManualClock()
        self.inference = ScriptedInference(hold)
        self.accounts = MemoryAccounts()
        self.authorization = self.accounts.add_key().decode()
        self.wire = ClientWire()
        self.keys = KeyRing(self.accounts, SECRET_KEY, self.clock)
        addresses = AddressLimiter(self.clock, unauthenticated_per_minute=per_minute)
        lane = FastLane(
            self.inference,
            self.keys,
            addresses,
            RequestIds(),
            self.clock,
            max_body_bytes,
            2 * max_body_bytes,
            self.wire.outbox,
            cross_origin=CrossOrigin(origins),
            proxies=proxies or TrustedProxies(),
            connections=counts or ConnectionCounts(self.clock, 100),
        )
        self.asgi_calls: list[str] = []
        self.asgi_clients: list[tuple[str, str]] = []
        bound = connection_class(lane, ConnectionLimits(**limits))
        config = Config(
            self._asgi, interface="asgi3", http=bound, lifespan="off", ws="none", log_config=None, access_log=False, server_header=False
        )
        config.load()
        self.protocol: PenstockConnection = bound(config, ServerState(), {}, asyncio.get_running_loop())
        self.protocol.connection_made(self.wire)

    async def _asgi(self, scope: Any, receive: Any, send: Any) -> None:
        self.asgi_calls.append(scope["path"])
        self.asgi_clients.append((scope["client"][0], scope["scheme"]))
        await send({"type": "http.response.start", "status": 204, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def know_the_key(self) -> None:
        """As after the first request with it: nothing has to be asked any more."""
        await self.keys.identify(self.authorization.encode(), "192.0.2.7")

    def request(self, body: bytes = b"{}", *lines: str, path: str = CHAT, method: str = "POST", version: str = "1.1") -> bytes:
        head = [f"{method} {path} HTTP/{version}", "host: gateway", f"authorization: {self.authorization}", *lines]
        return ("\r\n".join([*head, f"content-length: {len(body)}"]) + "\r\n\r\n").encode("latin-1") + body

    def receive(self, data: bytes) -> None:
        self.protocol.data_received(data)

    @property
    def closed(self) -> bool:
        return self.wire.closed

    def answers(self) -> list[HttpAnswer]:
        """Every answer so far, which all have a length."""
        rest, found = self.wire.written, []
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            status = int(first.split(" ")[1])
            if status == 100:
                continue
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", "0"))
            found.append(HttpAnswer(status, headers, rest[:length]))
            rest = rest[length:]
        return found

    def answer(self) -> HttpAnswer:
        (only,) = self.answers()
        return only
