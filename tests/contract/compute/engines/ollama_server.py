"""A server that speaks Ollama's native API, with the simulator's words: what `ollama serve` answers, field by field.

There is no Ollama where the tests run. Everything here follows its API documentation: NDJSON with durations in nanoseconds, `done` with
the counts on the last line, `{"error": ...}` with a status or in mid-stream, models fetched by `/api/pull`.
"""

import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from penstock.compute.engines.sim import MODELS, SimEngine
from penstock.domain.errors import PenstockError
from penstock.domain.inference import Operation
from penstock.domain.ports.engine import (
    Conversation,
    EmbeddingRequest,
    Finished,
    GenerationRequest,
    Message,
    Started,
    Token,
    Tool,
    ToolCall,
    ToolCallArguments,
    ToolCallStarted,
)
from penstock.domain.tokens import TokenCount
from tests.flow.compute.worker.fake_gateway import running

Body = dict[str, Any]
CUT_BYTES = 37
"""Streams are cut into pieces of this size, which ends no line and now and then splits a character."""
LONG_TOKENS = 5000
"""Who asks for so much gets it: a model that has much to say."""


class OllamaServer:
    """An ASGI application (`app`). `asked` keeps the bodies that came, by path."""

    def __init__(self, options: dict[str, str], *, version: str = "0.13.5", models: tuple[str, ...] = ("sim-small:latest",)) -> None:
        known = {name.removesuffix(":latest") for name in models}
        self.sim = SimEngine({**options, "models": ",".join(sorted(known | {"sim-small"}))})
        self.version = version
        self.models = list(models)
        self.thinks = False
        self.asked: list[tuple[str, Body]] = []
        self.next_lines: list[bytes] | None = None
        """What the next generation answers instead, as it is."""
        self._calls = itertools.count(1)
        self.app = Starlette(
            routes=[
                Route("/api/version", self._version),
                Route("/api/tags", self._tags),
                Route("/api/ps", self._loaded),
                Route("/api/show", self._show, methods=["POST"]),
                Route("/api/pull", self._pull, methods=["POST"]),
                Route("/api/chat", self._chat, methods=["POST"]),
                Route("/api/generate", self._generate, methods=["POST"]),
                Route("/api/embed", self._embed, methods=["POST"]),
            ]
        )

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its address, while it runs."""
        await self.sim.open()
        try:
            async with running(self.app) as port:
                yield f"http://127.0.0.1:{port}"
        finally:
            await self.sim.close()

    async def _version(self, _: Request) -> Response:
        return JSONResponse({"version": self.version})

    async def _tags(self, _: Request) -> Response:
        return JSONResponse({"models": [{"name": name, "model": name, "size": 1, "digest": "0" * 64} for name in self.models]})

    async def _loaded(self, _: Request) -> Response:
        return JSONResponse({"models": [{"name": name, "size_vram": 1} for name in self.models]})

    async def _show(self, request: Request) -> Response:
        name = (await request.json())["model"]
        if name not in self.models:
            return JSONResponse({"error": f"model '{name}' not found"}, 404)
        length = MODELS["sim-small"].context_length
        info = {"general.architecture": "sim", "sim.context_length": length}
        capabilities = ["completion", "tools", "embedding", *(["thinking"] if self.thinks else [])]
        return JSONResponse({"capabilities": capabilities, "model_info": info, "details": {"family": "sim"}})

    async def _pull(self, request: Request) -> Response:
        name = (await request.json())["model"]

        async def progress() -> AsyncIterator[bytes]:
            if "missing" in name:
                yield _line({"error": "pull model manifest: file does not exist"})
                return
            yield _line({"status": "pulling manifest"})
            yield _line({"status": "pulling 0123", "digest": "sha256:0123", "total": 2000, "completed": 1000})
            self.models.append(name)
            yield _line({"status": "success"})

        return StreamingResponse(progress(), media_type="application/x-ndjson")

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        messages = tuple(_message(message) for message in body["messages"])
        return await self._answer("/api/chat", body, Operation.CHAT, Conversation(messages))

    async def _generate(self, request: Request) -> Response:
        body = await request.json()
        return await self._answer("/api/generate", body, Operation.COMPLETION, body["prompt"])

    async def _embed(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(("/api/embed", body))
        try:
            made = await self.sim.embed(EmbeddingRequest(model=_sim(body), inputs=tuple(body["input"]), dimensions=body.get("dimensions")))
        except PenstockError as error:
            return _error(error)
        vectors = [memoryview(vector).cast("f").tolist() for vector in made.vectors]
        return JSONResponse({"model": body["model"], "embeddings": vectors, "prompt_eval_count": made.prompt_tokens})

    async def _answer(self, path: str, body: Body, operation: Operation, prompt: Conversation | str) -> Response:
        self.asked.append((path, body))
        if body["model"] not in self.models:
            return JSONResponse({"error": f"model '{body['model']}' not found"}, 404)
        if self.next_lines is not None:
            lines, self.next_lines = self.next_lines, None
            return StreamingResponse(_each(lines), media_type="application/x-ndjson")
        options = body.get("options", {})
        asked = GenerationRequest(
            operation=operation,
            model=_sim(body),
            prompts=(prompt,),
            max_tokens=options.get("num_predict"),
            ignore_eos=options.get("num_predict", 0) >= LONG_TOKENS,
            seed=options.get("seed"),
            temperature=options.get("temperature"),
            stop=tuple(options.get("stop", ())),
            tools=tuple(Tool(tool["function"]["name"], tool["function"]["parameters"]) for tool in body.get("tools", ())),
            parallel_tool_calls=False,
            json_schema=body.get("format"),
            top_logprobs=body.get("top_logprobs", 0) if body.get("logprobs") else None,
        )
        events = self.sim.generate(asked)
        try:
            first = await anext(events)
        except PenstockError as error:
            return _error(error)
        return StreamingResponse(_cut(self._lines(body["model"], operation, first, events)), media_type="application/x-ndjson")

    async def _lines(self, model: str, operation: Operation, first: Any, events: AsyncGenerator[Any, None]) -> AsyncIterator[bytes]:
        began = time.monotonic_ns()
        calls: list[Body] = []
        reason, prompt_tokens = "stop", 0
        head = {"model": model, "created_at": "2026-11-01T10:00:00.123456789Z"}
        try:
            batch = first
            while batch is not None:
                for event in batch:
                    if isinstance(event, Started):
                        prompt_tokens = event.prompt_tokens or 0
                    elif isinstance(event, Token):
                        yield _line(head | _answer_part(operation, event) | {"done": False})
                    elif isinstance(event, ToolCallStarted):
                        calls.append({"function": {"name": event.name, "arguments": ""}})
                    elif isinstance(event, ToolCallArguments):
                        calls[event.index]["function"]["arguments"] += event.text
                    elif isinstance(event, Finished):
                        reason = "length" if event.reason == "length" else "stop"
                    elif isinstance(event, TokenCount):
                        for call in calls:
                            call["function"]["arguments"] = msgspec.json.decode(call["function"]["arguments"])
                        if calls:
                            yield _line(head | {"message": {"role": "assistant", "content": "", "tool_calls": calls}, "done": False})
                        yield _line(head | _end(operation, reason, prompt_tokens, event.completion, time.monotonic_ns() - began))
                batch = await anext(events, None)
        finally:
            await events.aclose()


def _sim(body: Body) -> str:
    return str(body["model"]).removesuffix(":latest")


def _answer_part(operation: Operation, token: Token) -> Body:
    said: Body = {"message": {"role": "assistant", "content": token.text}} if operation is Operation.CHAT else {"response": token.text}
    if token.logprob is not None:
        top = [{"token": text, "logprob": value, "bytes": list(text.encode())} for text, value in token.logprob.top]
        said["logprobs"] = [{"token": token.logprob.token, "logprob": token.logprob.logprob, "top_logprobs": top}]
    return said


def _end(operation: Operation, reason: str, prompt: int, completion: int, nanoseconds: int) -> Body:
    said: Body = {"message": {"role": "assistant", "content": ""}} if operation is Operation.CHAT else {"response": ""}
    counts = {"prompt_eval_count": prompt, "prompt_eval_duration": 1_500_000, "eval_count": completion, "eval_duration": nanoseconds}
    return said | {"done": True, "done_reason": reason, "total_duration": nanoseconds, "load_duration": 1_000_000} | counts


def _message(message: Body) -> Message:
    calls = tuple(
        ToolCall(f"call_{at}", call["function"]["name"], msgspec.json.encode(call["function"]["arguments"]).decode())
        for at, call in enumerate(message.get("tool_calls") or ())
    )
    return Message(message["role"], message.get("content") or "", calls, message.get("tool_name"))


def _error(error: PenstockError) -> Response:
    return JSONResponse({"error": str(error)}, error.status)


def _line(value: Body) -> bytes:
    return msgspec.json.encode(value) + b"\n"


async def _each(lines: list[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line


async def _cut(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for line in lines:
        for at in range(0, len(line), CUT_BYTES):
            yield line[at : at + CUT_BYTES]
