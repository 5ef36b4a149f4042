"""A whole gateway in this process, on a free port, and servers behind it that misbehave on command."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from penstock.accounts.bootstrap import FirstStart
from penstock.app.gateway.assembly import Gateway, open_gateway, store_of
from penstock.app.settings import Settings
from penstock.base.moments import Moment
from penstock.compute.worker import Worker, WorkerPlan
from penstock.domain.ports import Store, UsageQuery
from penstock.domain.usage import UsageRecord
from penstock.domain.workers import WorkerState
from penstock.serving.routing.member import Member
from tests.support import postgres
from tests.support.waiting import until

READY_SECONDS = 20.0
CHAT = "/v1/chat/completions"
MODEL = "scripted"


@dataclass
class Platform:
    """A gateway that serves, and what its first start made."""

    gateway: Gateway
    first: FirstStart
    http: httpx.AsyncClient
    """With the first key."""

    @property
    def port(self) -> int:
        return self.gateway.port

    @property
    def authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.first.api_key}"}

    def body(self, **fields: Any) -> dict[str, Any]:
        return {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], **fields}

    def request(self, *headers: str, path: str = CHAT, **fields: Any) -> bytes:
        """The bytes of a chat request with the first key."""
        return request(path, json.dumps(self.body(**fields)).encode(), f"authorization: Bearer {self.first.api_key}", *headers)

    async def chat(self, **fields: Any) -> httpx.Response:
        return await self.http.post(CHAT, json=self.body(**fields))

    def member(self, name: str = "") -> Member:
        """The worker of that name, or the only one."""
        return next(member for member in self.gateway.workers.members() if not name or member.record.name == name)

    async def until_ready(self, count: int) -> None:
        await until(lambda: sum(member.state is WorkerState.READY for member in self.gateway.workers.members()) >= count)

    async def records(self) -> list[UsageRecord]:
        """The ledger, once the journal has written everything; newest first."""
        await self.gateway.journal.flush()
        return await self.gateway.store.ledger.records(UsageQuery(limit=100_000))

    async def until_quiet(self, seconds: float = 5.0) -> None:
        """Returns when nothing is in flight anywhere; fails the test when something leaked."""
        await until(lambda: self.leaks() == {}, seconds, self.leaks)

    def leaks(self) -> dict[str, object]:
        """What a request that is over should have given back."""
        rooms = self.gateway.deps
        found: dict[str, object] = {"active": rooms.active, "retrying": rooms.retrying}
        for member in self.gateway.workers.members():
            found |= {f"{member.id} in flight": member.in_flight, f"{member.id} tokens": member.outstanding_tokens}
        for line in rooms.queues.values():
            found[f"{id(line)} waiting"] = len(line)
        found["idempotency"] = len(rooms.answers._running)
        for serving in self.gateway.workers._models.values():
            found[f"{serving.model} busy"] = serving._busy
        return {name: value for name, value in found.items() if value}


@contextlib.asynccontextmanager
async def platform(
    directory: Path, upstreams: Iterable[str | dict[str, Any]] = (), *, store: Callable[[Store], Store] | None = None, **settings: Any
) -> AsyncIterator[Platform]:
    """`upstreams` are base URLs that serve `MODEL`; `settings` are sections or fields of the settings tree; `store` wraps the store.

    On a PostgreSQL database of the directory's own where the run is on PostgreSQL.
    """
    if postgres.chosen_store() == "postgresql":
        settings = {"store": postgres.database_of(directory), **settings}
    async with _platform(directory, upstreams, store, settings) as running:
        yield running


@contextlib.asynccontextmanager
async def _platform(
    directory: Path, upstreams: Iterable[str | dict[str, Any]], store: Callable[[Store], Store] | None, settings: dict[str, Any]
) -> AsyncIterator[Platform]:
    listed = [url if isinstance(url, dict) else {"model": MODEL, "url": url} for url in upstreams]
    defaults: dict[str, Any] = {"data_dir": directory, "port": 0, "discover": False, "upstreams": tuple(listed), "profile": directory / "p"}
    tree = Settings(**(defaults | settings))
    gateway = await open_gateway(tree, migrate=True, store=store(store_of(tree)) if store is not None else None)
    ready = asyncio.Event()
    first = gateway.first
    serving: asyncio.Task[None] | None = None
    try:
        serving = asyncio.create_task(gateway.serve(ready.set))
        async with asyncio.timeout(READY_SECONDS):
            await ready.wait()
        headers = {"authorization": f"Bearer {first.api_key if first else ''}"}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=gateway.base_url, headers=headers, timeout=30, trust_env=False, limits=limits) as http:
            running = Platform(gateway, first or FirstStart("", "", "", ""), http)
            await running.until_ready(len(listed))
            yield running
    finally:
        gateway.stop()
        if serving is not None:
            async with asyncio.timeout(READY_SECONDS):
                await serving
        await gateway.close()


@contextlib.asynccontextmanager
async def sim_worker(running: Platform, directory: Path, engine: str = "sim", **options: str) -> AsyncIterator[Worker]:
    """A worker of ours, joined; it takes faults on demand."""
    plan = WorkerPlan(
        state_dir=directory,
        engine=engine,
        engine_options=options,
        join=running.gateway.base_url,
        token=running.first.join_token,
        allow_faults=True,
    )
    worker = Worker(plan)
    before = len(running.gateway.workers.members())
    await worker.open()
    try:
        await running.until_ready(before + 1)
        yield worker
    finally:
        await worker.close()


# --- a server that follows a script ----------------------------------------------------------------------------------


class Client:
    """One connection of the gateway to a scripted server, and the request that came over it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.method = b""
        self.path = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.sent = 0
        self.gone = asyncio.Event()
        self.go = asyncio.Event()
        """For a script to wait for its test."""

    async def read_request(self) -> bool:
        """False when the gateway closed the connection instead."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        first, *lines = head[:-4].split(b"\r\n")
        self.method, self.path, _ = first.split(b" ")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        self.body = await self.reader.readexactly(int(self.headers.get(b"content-length", b"0")))
        return True

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)

    async def answer(self, status: int, body: bytes, content_type: str = "application/json", **headers: str) -> None:
        """A whole answer."""
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n{lines}content-length: {len(body)}\r\n\r\n"
        await self.send(head.encode() + body)

    async def begin_stream(self, **headers: str) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        await self.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n" + lines.encode() + b"transfer-encoding: chunked\r\n\r\n")

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end_stream(self) -> None:
        await self.send(b"0\r\n\r\n")

    def reset(self) -> None:
        """Break the connection with a RST."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_gone(self) -> None:
        """Returns when the gateway has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.gone.set()


Script = Callable[[Client], Awaitable[None]]


class ScriptedServer:
    """An OpenAI-compatible server as far as its list of models goes; what it does with a POST is its script's matter."""

    def __init__(self, script: Script, models: Iterable[str] = (MODEL,)) -> None:
        self.script = script
        self.models = tuple(models)
        self.requests: list[Client] = []
        self.arrived = Moment()
        """A request has been read."""
        self.connections = 0
        self.open_connections = 0
        self.answers_probes = True
        self.owned_by = "somebody"
        self.pages: dict[bytes, bytes] = {}
        """Further pages by path."""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop to listen and break every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_connections += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self.open_connections -= 1
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            client = Client(reader, writer)
            if not await client.read_request():
                return
            if client.method == b"POST":
                self.requests.append(client)
                self.arrived.tell()
                await self.script(client)
            elif client.path == b"/v1/models" and self.answers_probes:
                data = [{"id": name, "object": "model", "owned_by": self.owned_by} for name in self.models]
                await client.answer(200, json.dumps({"object": "list", "data": data}).encode())
            elif client.path == b"/v1/models":
                await client.answer(503, b"{}")  # 404 would say that it has no list, which it need not have
            elif client.path in self.pages:
                await client.answer(200, self.pages[client.path])
            else:
                loading = client.path == b"/v1/models"
                await client.answer(503 if loading else 404, b"{}")
            if writer.is_closing():
                return


@contextlib.asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[list[ScriptedServer]]:
    """One server for each script."""
    servers = [ScriptedServer(script) for script in scripts]
    try:
        for server in servers:
            await server.open()
        yield servers
    finally:
        for server in servers:
            await server.close()


def token_event(text: str, **fields: Any) -> bytes:
    return event({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}, **fields}]})


def event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def reply(text: str = "well", prompt: int = 3, completion: int = 1) -> bytes:
    """A whole answer of an engine."""
    choices = [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
    return json.dumps(
        {"id": "c", "object": "chat.completion", "model": MODEL, "choices": choices, "usage": usage(prompt, completion)}
    ).encode()


def full_stream(count: int, prompt: int = 3) -> list[bytes]:
    """The events of a stream of `count` tokens, with its usage and its end."""
    end = event({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    last = event({"id": "c", "choices": [], "usage": usage(prompt, count)})
    return [*(token_event(f"t{number} ") for number in range(count)), end, last, b"data: [DONE]\n\n"]


async def well(client: Client) -> None:
    """A script: answers as it should."""
    if not client.json.get("stream"):
        await client.answer(200, reply())
        return
    await client.begin_stream()
    for one in full_stream(5):
        await client.chunk(one)
    await client.end_stream()


# --- a client without manners ----------------------------------------------------------------------------------------


@dataclass
class Answer:
    """An HTTP answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


class RawClient:
    """Sends bytes, reads answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, seconds: float = 10.0) -> Answer:
        async with asyncio.timeout(seconds):
            while True:
                head = await self.reader.readuntil(b"\r\n\r\n")
                first, *lines = head[:-4].decode("latin-1").split("\r\n")
                status = int(first.split(" ")[1])
                if status != 100:
                    break
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            return Answer(status, headers, await self._body(headers))

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.read()
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body

    async def closed(self, seconds: float = 10.0) -> bool:
        """Whether the other side closes the connection in time, without another byte."""
        async with asyncio.timeout(seconds):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True


@contextlib.asynccontextmanager
async def raw(port: int) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()


def request(path: str, body: bytes = b"", *headers: str, method: str = "POST", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "host: gateway", *headers]
    if body or method == "POST":
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def data_events(text: bytes) -> list[str]:
    """The data of the events of a stream, comments left out; fails for anything else."""
    events = text.decode().split("\n\n")
    assert events.pop() == "", text[-200:]
    assert all(one.startswith(("data: ", ":")) for one in events), text[:500]
    return [one.removeprefix("data: ") for one in events if one.startswith("data: ")]
