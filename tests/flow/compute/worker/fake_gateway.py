"""The part of a gateway's control API that workers speak to, over real HTTP: checks signatures, notes what it hears."""

import asyncio
import base64
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Gateway:
    """Behaviour is set by plain attributes; `heard` holds (what, body) in order."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.join_answers: list[tuple[int, dict[str, Any]]] = []
        """Answers to the next joins; when used up, a join is accepted."""
        self.draining = False
        self.forgotten = False
        self._news = asyncio.Event()
        self._keys: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def hears(self, what: str, seconds: float = 5.0, **fields: Any) -> dict[str, Any]:
        """Wait for a message from now on, or the one that is here already and not yet taken, whose body has these fields."""
        async with asyncio.timeout(seconds):
            while True:
                for at, (kind, body) in enumerate(self.heard):
                    if kind == what and fields.items() <= body.items():
                        del self.heard[: at + 1]
                        return body
                self._news.clear()
                await self._news.wait()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = self._answer(scope["path"], dict(scope["headers"]), body)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": msgspec.json.encode(answer) if status != 204 else b""})

    def _answer(self, path: str, headers: dict[bytes, bytes], raw: bytes) -> tuple[int, dict[str, Any]]:
        body: dict[str, Any] = msgspec.json.decode(raw) if raw else {}
        what = path.rsplit("/", 1)[1]
        worker_id = "wrk_1"
        key = base64.b64decode(body["public_key"]) if what == "join" else self._keys.get(worker_id, b"")
        if key:
            timestamp, nonce = headers[b"x-penstock-timestamp"].decode(), headers[b"x-penstock-nonce"].decode()
            signed = f"POST\n{path}\n{timestamp}\n{nonce}\n{hashlib.sha256(raw).hexdigest()}".encode()
            Ed25519PublicKey.from_public_bytes(key).verify(base64.b64decode(headers[b"x-penstock-signature"]), signed)
        self.heard.append((what, body))
        self._news.set()
        if what == "join":
            if self.join_answers:
                return self.join_answers.pop(0)
            self._keys[worker_id], self.forgotten = key, False
            return 201, {"worker_id": worker_id, "heartbeat_seconds": 0.05}
        if self.forgotten:
            return 404, {"code": "not_found"}
        return (204, {}) if what == "leave" else (200, {"draining": self.draining})


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def running(app: Any, port: int = 0) -> AsyncIterator[int]:
    """An ASGI application on loopback; the port, which is free unless given."""
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = _Server(config)
    # The socket listens already: what connects before the server runs waits in its backlog.
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def gateway(port: int = 0) -> AsyncIterator[Gateway]:
    one = Gateway()
    async with running(one, port) as one.port:
        yield one


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
