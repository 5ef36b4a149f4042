"""The worker's HTTP side, plain ASGI: OpenAI's calls, health, metrics, the link that gateways hold, and faults on demand.

Every request carries the worker's secret. A client that leaves ends its generation at once.
"""

import asyncio
import hmac
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

import msgspec
import structlog

from penstock.compute.worker.faults import Fault, Faults
from penstock.compute.worker.presence import Presence
from penstock.compute.worker.slots import WorkerSlots
from penstock.domain.errors import BadRequest, Internal, MethodNotAllowed, NotFound, Overloaded, PenstockError, TooLarge, Unauthenticated
from penstock.domain.inference import OPERATION_PATHS, Operation
from penstock.domain.ports.engine import Answer, Engine, KeepsLog, MayBeAway
from penstock.domain.workers import WorkerLoad
from penstock.wire.errors import error_body, error_event
from penstock.wire.joining.workers import Hello, encode_line

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LARGEST_BODY_BYTES = 32 * 1024 * 1024
"""Above the gateway's own limit: it is the gateway that guards; this only keeps a mistake from filling the memory."""
LINK_SECONDS = 1.0
MOST_LOG_LINES = 2000

_JSON = [(b"content-type", b"application/json")]
_log = structlog.get_logger()


class WorkerApp:
    """ASGI application of one worker."""

    def __init__(self, engine: Engine, secret: str, slots: WorkerSlots, presence: Presence, faults: Faults | None = None) -> None:
        self._engine = engine
        self._may_be_away = engine if isinstance(engine, MayBeAway) else None
        self._authorization = f"Bearer {secret}".encode()
        self._slots = slots
        self._presence = presence
        self._faults = faults
        self._answered: Counter[tuple[str, int]] = Counter()
        self._operations = {path: operation for operation, path in OPERATION_PATHS.items()}
        self._pages: dict[str, tuple[str, Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]]] = {
            "/v1/models": ("GET", self._models),
            "/health": ("GET", self._health),
            "/metrics": ("GET", self._metrics),
            "/penstock/link": ("GET", self._link),
            "/penstock/logs": ("GET", self._logs),
        }
        if faults is not None:
            self._pages["/penstock/fault"] = ("POST", self._set_fault)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            self._check_secret(scope)
            await self._route(scope, receive, send)
        except PenstockError as error:
            await _send_error(send, error)

    def load(self) -> WorkerLoad:
        """The engine's load, and what waits here for a slot."""
        load = self._engine.load()
        running = max(load.running, self._slots.running)
        return WorkerLoad(running, load.waiting + self._slots.waiting, load.kv_usage, load.ttft_seconds)

    def _check_engine(self) -> None:
        """Raises Overloaded while the engine's server is away."""
        if self._may_be_away is not None and self._may_be_away.is_away:
            raise Overloaded("The engine of this worker is away.", retry_after_seconds=2.0)

    def _check_secret(self, scope: Scope) -> None:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if not hmac.compare_digest(given, self._authorization):
            raise Unauthenticated("This worker answers only those who know its secret.")

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._operations.get(scope["path"])
        method, page = ("POST", None) if operation is not None else self._pages.get(scope["path"], ("", None))
        if not method:
            raise NotFound(f"There is nothing at {scope['path']}.")
        if scope["method"] != method:
            raise MethodNotAllowed(f"{scope['path']} is for {method}.")
        if operation is not None:
            await self._infer(operation, receive, send)
        elif page is not None:
            await page(scope, receive, send)

    # --- inference -----------------------------------------------------------------------------------------------------

    async def _infer(self, operation: Operation, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        if self._presence.refusing:
            raise Overloaded("This worker is stopping.", retry_after_seconds=1.0)
        self._check_engine()
        await _while_connected(receive, self._answer(operation, body, send))

    async def _answer(self, operation: Operation, body: bytes, send: Send) -> None:
        status = 499  # the client left before there was an answer
        await self._slots.acquire()
        try:
            answer = await self._make(operation, body)
            status = answer.status
            await _send(send, answer)
        except PenstockError as error:
            status = error.status
            raise
        except Exception as error:
            status = 500
            _log.exception("engine_failed", operation=operation)
            raise Internal("The engine failed.") from error
        finally:
            self._slots.release()
            self._answered[operation, status] += 1

    async def _make(self, operation: Operation, body: bytes) -> Answer:
        fault = self._faults.next() if self._faults is not None else None
        if fault is None or self._faults is None:
            return await self._engine.answer(operation, body)
        return await self._faults.strike(fault, lambda: self._engine.answer(operation, body))

    # --- pages ---------------------------------------------------------------------------------------------------------

    async def _models(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        data = [
            {
                "id": offer.id,
                "object": "model",
                "created": 0,
                "owned_by": "penstock",
                "max_model_len": offer.context_length,
                "capabilities": offer.capabilities,
            }
            for offer in await self._engine.models()
        ]
        await _send(send, Answer(200, _JSON, msgspec.json.encode({"object": "list", "data": data})))

    async def _health(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        status = "draining" if self._presence.draining else "ok"
        await _send(send, Answer(503 if self._presence.draining else 200, _JSON, msgspec.json.encode({"status": status})))

    async def _metrics(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        load = self.load()
        gauges = {
            "requests_running": load.running,
            "requests_waiting": load.waiting,
            "slots": self._slots.limit,
            "kv_usage_ratio": load.kv_usage,
            "draining": int(self._presence.draining),
        }
        lines = [f"# TYPE penstock_worker_{name} gauge\npenstock_worker_{name} {value}\n" for name, value in gauges.items()]
        lines.append("# TYPE penstock_worker_requests_total counter\n")
        for (operation, status), count in sorted(self._answered.items()):
            lines.append(f'penstock_worker_requests_total{{operation="{operation}",status="{status}"}} {count}\n')
        headers = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
        await _send(send, Answer(200, headers, "".join(lines).encode()))

    async def _logs(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """The last lines of the engine's own log; `?lines=` says how many."""
        if not isinstance(self._engine, KeepsLog):
            raise NotFound("The engine of this worker runs in the worker itself and keeps no log of its own.")
        asked = scope.get("query_string", b"").decode("ascii", "replace").removeprefix("lines=")
        lines = min(int(asked), MOST_LOG_LINES) if asked.isdecimal() and len(asked) < 9 else MOST_LOG_LINES
        tail = await asyncio.to_thread(self._engine.log_tail, lines)
        await _send(send, Answer(200, _JSON, msgspec.json.encode({"lines": tail})))

    async def _set_fault(self, _scope: Scope, receive: Receive, send: Send) -> None:
        try:
            fault = msgspec.json.decode(await _read(receive), type=Fault)
        except msgspec.DecodeError as error:
            raise BadRequest(f"This is not a fault: {error}.") from None
        if self._faults is not None:
            self._faults.set(fault)
        await _send(send, Answer(200, _JSON, msgspec.json.encode(fault)))

    async def _link(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await _read(receive)
        self._check_engine()
        await _while_connected(receive, self._stream_load(send))

    async def _stream_load(self, send: Send) -> None:
        """The link: who this is, then its load every second and at once when it starts to drain. Its end is news too."""
        presence = self._presence
        models = [offer.id for offer in await self._engine.models()]
        hello = Hello("hello", presence.worker_id, self._slots.limit, models)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/x-ndjson")]})
        await send({"type": "http.response.body", "body": encode_line(hello), "more_body": True})
        engine = self._may_be_away
        while not presence.closed and not (engine is not None and engine.is_away):
            await send({"type": "http.response.body", "body": encode_line(presence.link_line()), "more_body": True})
            await presence.changed(LINK_SECONDS)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


# --- ASGI ----------------------------------------------------------------------------------------------------------


async def _read(receive: Receive) -> bytes:
    """The whole request body. Raises TooLarge."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY_BYTES:
            raise TooLarge(f"The request body is larger than {LARGEST_BODY_BYTES} bytes.")
    return body


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work unless the client leaves, which cancels it. To be called when the body has been read."""
    task = asyncio.current_task()
    assert task is not None
    left = False

    def leave(_: object) -> None:
        nonlocal left
        left = True
        task.cancel()

    # After the body, ASGI's only news is that the client has gone.
    watcher = asyncio.ensure_future(receive())
    watcher.add_done_callback(leave)
    try:
        await work
    except asyncio.CancelledError:
        if not left:
            raise
        task.uncancel()
    finally:
        watcher.remove_done_callback(leave)
        watcher.cancel()


async def _send(send: Send, answer: Answer) -> None:
    body = answer.body
    if isinstance(body, bytes):
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers, length]})
        await send({"type": "http.response.body", "body": body})
        return
    begun = False
    try:
        # The status line waits for the first bytes: what fails before them still gets a status of its own.
        async for chunk in body:
            if not begun:
                begun = True
                await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except Exception as error:
        if not begun:
            raise
        if not isinstance(error, PenstockError):
            _log.exception("engine_failed_in_stream")
            error = Internal("The engine failed.")
        await send({"type": "http.response.body", "body": error_event(error), "more_body": True})
    finally:
        await body.aclose()
    if not begun:
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_error(send: Send, error: PenstockError) -> None:
    headers = list(_JSON)
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_seconds))))
    await _send(send, Answer(error.status, headers, error_body(error)))
