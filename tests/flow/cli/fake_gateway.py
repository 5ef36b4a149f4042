"""A small gateway in memory that speaks the API, over real HTTP: what the commands are tested against where a real one cannot be made
to behave badly on purpose. How a chat goes is chosen by the model that is asked."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

ADMIN_KEY = "psk_admin"
WEAK_KEY = "psk_weak"
CREATED_AT = 1_767_225_600.0
LIMIT_HEADERS = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-limit-tokens": "10000",
    "x-ratelimit-remaining-tokens": "9900",
    "x-ratelimit-reset-tokens": "6s",
}
FREE = {
    "input_per_million": 0,
    "cached_input_per_million": None,
    "output_per_million": 0,
    "currency": "USD",
    "priority_percent": 175,
    "flex_percent": 50,
    "batch_percent": 50,
}
MODELS = ("sim-small", "sim-large")


@dataclass
class FakeGatewayState:
    """Everything that the fake gateway holds, and what it has seen."""

    things: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Kind -> id -> what the API shows of it."""
    chats: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the chat requests, in order."""
    queries: list[dict[str, str]] = field(default_factory=list)
    """Queries of the usage reports, in order."""
    refusals_left: int = 1
    """How often the model `limited` still answers 429."""
    client_left: threading.Event = field(default_factory=threading.Event)
    """Set when a client leaves in mid-stream."""
    streaming: threading.Event = field(default_factory=threading.Event)
    ready: bool = True
    store: str = "ok"
    workers_ready: int = 1

    def kind(self, name: str) -> dict[str, dict[str, Any]]:
        return self.things.setdefault(name, {})


def problem(status: int, code: str, detail: str, param: str | None = None) -> JSONResponse:
    body = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code, "request_id": "req_fake"}
    return JSONResponse(body | ({"param": param} if param else {}), status, media_type="application/problem+json")


def openai_error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    error = {"message": message, "type": "error", "param": None, "code": code}
    return JSONResponse({"error": error}, status, headers={"x-request-id": "req_fake", **(headers or {})})


class FakeGateway:
    def __init__(self, state: FakeGatewayState) -> None:
        self.state = state

    def application(self) -> Starlette:
        routes = [
            Route("/v1/models", self.v1_models),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/api/status", self.status),
            Route("/api/plans", self.plans),
            Route("/api/usage", self.usage),
            Route("/api/usage/records", self.records),
            Route("/api/usage/records/{id}", self.record),
            Route("/api/models", self.list_models),
            Route("/api/models/{id:path}", self.model, methods=["PUT", "DELETE"]),
            Route("/api/workers/{id}/{verb}", self.drain_or_resume, methods=["POST"]),
            Route("/api/{kind}", self.collection, methods=["GET", "POST"]),
            Route("/api/{kind}/{id}", self.single, methods=["GET", "PATCH", "DELETE"]),
        ]
        return Starlette(routes=[Route(route.path, self.guarded(route.endpoint), methods=route.methods) for route in routes])

    def guarded(self, endpoint: Any) -> Any:
        async def checked(request: Request) -> Response:
            shape = openai_error if request.url.path.startswith("/v1") else problem
            key = request.headers.get("authorization", "").removeprefix("Bearer ")
            if key == WEAK_KEY and request.url.path.startswith("/api"):
                return problem(403, "permission_denied", "This needs the scope 'admin'.")
            if key not in (ADMIN_KEY, WEAK_KEY):
                return shape(401, "invalid_api_key", "The key is not valid.")
            answer: Response = await endpoint(request)
            return answer

        return checked

    # --- control -----------------------------------------------------------------------------------------------------

    async def collection(self, request: Request) -> Response:
        kind = self.state.kind(request.path_params["kind"])
        if request.method == "GET":
            return JSONResponse(page(list(kind.values()), request))
        body = await request.json()
        if body.get("name") == "bad":
            return problem(422, "validation_error", "name: that one is not allowed.", "name")
        return JSONResponse(self.create(request.path_params["kind"], body), 201)

    def create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        things = self.state.kind(kind)
        made = {"id": f"{kind}_{len(things) + 1}", **body, "created_at": CREATED_AT}
        if "expires_in_seconds" in body:
            made["expires_at"] = CREATED_AT + made.pop("expires_in_seconds")
        if kind == "workers":
            made |= {
                "kind": "upstream",
                "engine": "openai",
                "state": "ready",
                "in_flight": 0,
                "ejected": False,
                "slots": body.get("slots", 256),
            }
        things[made["id"]] = made
        return made | ({"secret": "shown-once"} if kind in ("keys", "join-tokens") else {})

    async def single(self, request: Request) -> Response:
        kind, name = request.path_params["kind"], request.path_params["id"]
        things = self.state.kind(kind)
        if name not in things:
            return problem(404, "not_found", "There is no such thing.")
        if request.method == "DELETE" and kind in ("keys", "join-tokens"):
            things[name]["revoked_at"] = CREATED_AT + 60
            return Response(status_code=204)
        if request.method == "DELETE":
            del things[name]
            return Response(status_code=204)
        if request.method == "PATCH":
            things[name] |= await request.json()
        return JSONResponse(things[name])

    async def drain_or_resume(self, request: Request) -> Response:
        worker = self.state.kind("workers").get(request.path_params["id"])
        if worker is None:
            return problem(404, "not_found", "There is no such worker.")
        worker["state"] = "draining" if request.path_params["verb"] == "drain" else "ready"
        return JSONResponse(worker)

    async def list_models(self, request: Request) -> Response:
        models = self.state.kind("models")
        for name in MODELS:
            models.setdefault(name, {"id": name, "aliases": [], "price": dict(FREE), "context_length": 8192, "owned_by": "penstock"})
        return JSONResponse(page(list(models.values()), request))

    async def model(self, request: Request) -> Response:
        models, name = self.state.kind("models"), request.path_params["id"]
        if request.method == "DELETE":
            return Response(status_code=204) if models.pop(name, None) else problem(404, "not_found", "There is no such model.")
        old = models.get(name, {"id": name, "aliases": [], "price": dict(FREE), "context_length": None, "owned_by": "penstock"})
        models[name] = {**old, **await request.json()}
        return JSONResponse(models[name])

    async def plans(self, request: Request) -> Response:
        plan = {"name": "free", "service_class": "free", "default_tier": "default", "tiers": ["default", "flex"]}
        limits = {"requests_per_minute": 60, "tokens_per_minute": 10000, "concurrency": 4, "spill": False}
        return JSONResponse({"data": [plan | limits], "has_more": False})

    async def status(self, request: Request) -> Response:
        reasons = [] if self.state.ready else ["the store cannot be reached"]
        workers = {"ready": self.state.workers_ready, "suspect": 0, "dead": 0, "joining": 0, "draining": 0}
        about = {"version": "0.1.0", "ready": self.state.ready, "problems": reasons, "store": self.state.store, "workers": workers}
        return JSONResponse(about | {"requests_in_flight": 0, "queue_length": 0, "queues": {}, "uptime_seconds": 65.0})

    # --- usage -------------------------------------------------------------------------------------------------------

    async def usage(self, request: Request) -> Response:
        self.state.queries.append(dict(request.query_params))
        row = {
            "org_id": "",
            "key_id": "",
            "model": "sim-small",
            "service_tier": "",
            "service_class": "",
            "day": "2026-01-01",
            "currency": "USD",
            **SUMS,
        }
        return JSONResponse(
            {"data": [row], "totals": SUMS | {"costs": [{"currency": "USD", "cost_micros": SUMS["cost_micros"]}]}, "has_more": False}
        )

    async def records(self, request: Request) -> Response:
        self.state.queries.append(dict(request.query_params))
        return JSONResponse({"data": [RECORD], "has_more": True})

    async def record(self, request: Request) -> Response:
        found = request.path_params["id"] == RECORD["request_id"]
        return JSONResponse(RECORD) if found else problem(404, "not_found", "There is no such request in the ledger.")

    # --- inference ---------------------------------------------------------------------------------------------------

    async def v1_models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.state.chats.append(body)
        refusal = self.refusal(body["model"])
        if refusal is not None:
            return refusal
        if not body.get("stream"):
            message = {"role": "assistant", "content": reply(body)}
            usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
            return JSONResponse({"model": body["model"], "choices": [{"index": 0, "message": message}], "usage": usage})
        return StreamingResponse(self.stream(body), headers={"x-request-id": "req_fake", **LIMIT_HEADERS}, media_type="text/event-stream")

    def refusal(self, model: str) -> Response | None:
        if model == "limited" and self.state.refusals_left > 0:
            self.state.refusals_left -= 1
            return openai_error(429, "rate_limit_exceeded", "Too many requests.", {"retry-after": "1", "retry-after-ms": "1000"})
        if model == "exhausted":
            return openai_error(429, "insufficient_quota", "The quota is used up.", {"retry-after": "60", "x-should-retry": "false"})
        if model in ("missing", "overloaded"):
            status, code = (404, "model_not_found") if model == "missing" else (503, "server_overloaded")
            return openai_error(status, code, f"The model is {model}.")
        return None

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[str]:
        yield ": keepalive\n\n"
        try:
            async for text in self.words(body):
                yield chunk(body, choices=[{"index": 0, "delta": {"content": text}, "finish_reason": None}])
                self.state.streaming.set()
        except asyncio.CancelledError:
            self.state.client_left.set()
            raise
        if body["model"] == "broken":
            yield f"data: {json.dumps({'error': {'message': 'The worker failed.', 'code': 'upstream_error'}})}\n\n"
            return
        if body["model"] == "cut":
            return
        yield chunk(body, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        yield chunk(body, choices=[], usage=usage) + "data: [DONE]\n\n"

    async def words(self, body: dict[str, Any]) -> AsyncIterator[str]:
        if body["model"] == "endless":
            while True:
                yield "on "
                await asyncio.sleep(0.02)
        for word in reply(body).split(" "):
            yield f"{word} "
            await asyncio.sleep(0)


SUMS = {
    "requests": 12,
    "prompt_tokens": 3456,
    "completion_tokens": 789,
    "cached_tokens": 10,
    "reasoning_tokens": 0,
    "estimated_requests": 2,
    "cost_micros": 1_234_560,
}
RECORD = {
    "request_id": "req_1",
    "model": "sim-small",
    "service_tier": "default",
    "outcome": "completed",
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "cost_micros": 42,
    "currency": "USD",
    "started_at": CREATED_AT,
    "finished_at": CREATED_AT + 2.5,
    "ttft_ms": 250.0,
    "queue_ms": 0.0,
}


def reply(body: dict[str, Any]) -> str:
    """What the fake gateway says: how many messages it got, and the last one."""
    return f"{len(body['messages'])} messages, last: {body['messages'][-1]['content']}"


def chunk(body: dict[str, Any], **fields: Any) -> str:
    shared = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": body["model"], "service_tier": "default"}
    return f"data: {json.dumps(shared | fields)}\n\n"


def page(items: list[dict[str, Any]], request: Request) -> dict[str, Any]:
    """Two items a page, so that every list of three is read in pages."""
    ids = [item["id"] for item in items]
    after = request.query_params.get("after")
    start = ids.index(after) + 1 if after in ids else 0
    return {"data": items[start : start + 2], "has_more": len(items) > start + 2}


@contextmanager
def running(state: FakeGatewayState) -> Iterator[str]:
    """The fake gateway's address while it listens on a free port."""
    config = uvicorn.Config(
        FakeGateway(state).application(), host="127.0.0.1", port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.listening.wait(10), "the fake gateway does not start"
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.should_exit = True
        thread.join(10)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @property
    def port(self) -> int:
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port
