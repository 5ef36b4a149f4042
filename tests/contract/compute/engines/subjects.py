"""Every engine on disk, served by a worker as it is in production, ready to be asked.

An engine that comes into being must get a line in `SUBJECTS`; a test fails until it has one.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from penstock.compute.worker import Worker, WorkerPlan
from penstock.domain.workers import ModelOffer
from tests.contract.compute.engines.ollama_server import OllamaServer
from tests.contract.compute.engines.triton_server import TritonServer
from tests.support.tiny.place import tiny_model

FAST = {"speed": "1000"}
Maker = Callable[[Path, dict[str, str]], contextlib.AbstractAsyncContextManager[tuple[Worker, ...]]]
"""A state folder and a speed to the worker that is asked and those behind it."""


@dataclass(frozen=True)
class Subject:
    """A worker under test, and the client that asks it."""

    http: httpx.AsyncClient
    model: str
    offer: ModelOffer
    workers: tuple[Worker, ...] = field(repr=False)
    """The one that is asked, then those behind it."""
    seed: int | None = None
    """Sent unless a test sends another: a real model says something else each time. The simulator needs none."""

    async def post(self, path: str, **body: Any) -> httpx.Response:
        sampled = {} if self.seed is None or path == "/v1/embeddings" else {"seed": self.seed}
        return await self.http.post(path, content=msgspec.json.encode({"model": self.model, **sampled, **body}))

    async def chat(self, content: Any = "Tell me about water.", **body: Any) -> dict[str, Any]:
        """A unary chat answer; anything but 200 fails the test."""
        response = await self.post("/v1/chat/completions", **{"messages": [{"role": "user", "content": content}], **body})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def stream(self, content: str = "Tell me about water.", **body: Any) -> list[dict[str, Any]]:
        """The chunks of a streamed chat answer that ends as it should."""
        message = [{"role": "user", "content": content}]
        response = await self.post("/v1/chat/completions", **{"messages": message, "stream": True, **body})
        assert response.status_code == 200, response.text
        return chunks(response.text)

    async def error(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        response = await self.post(path, **body)
        return response.status_code, response.json()["error"]

    async def idle(self) -> None:
        """Returns when no worker runs anything."""
        for worker in self.workers:
            assert worker.slots is not None
            await worker.slots.until_idle()


def chunks(text: str) -> list[dict[str, Any]]:
    """Events of a stream, which must end with `[DONE]` and hold nothing but data lines."""
    events = text.split("\n\n")
    assert events.pop() == ""
    assert all(event.startswith("data: ") for event in events)
    assert events.pop() == "data: [DONE]"
    return [msgspec.json.decode(event.removeprefix("data: ")) for event in events]


@contextlib.asynccontextmanager
async def serving(state_dir: Path, engine: str, options: dict[str, str], **plan: Any) -> AsyncIterator[Worker]:
    worker = Worker(WorkerPlan(state_dir=state_dir, engine=engine, engine_options=options, **plan))
    await worker.open()
    try:
        yield worker
    finally:
        await worker.close()


@contextlib.asynccontextmanager
async def _sim(state_dir: Path, speed: dict[str, str]) -> AsyncIterator[tuple[Worker, ...]]:
    async with serving(state_dir, "sim", speed) as worker:
        yield (worker,)


@contextlib.asynccontextmanager
async def _openai(state_dir: Path, speed: dict[str, str]) -> AsyncIterator[tuple[Worker, ...]]:
    async with serving(state_dir / "server", "sim", speed) as server:
        options = {"base_url": server.base_url, "secret": server.secret}
        async with serving(state_dir / "worker", "openai", options) as worker:
            yield worker, server


@contextlib.asynccontextmanager
async def _ollama(state_dir: Path, speed: dict[str, str]) -> AsyncIterator[tuple[Worker, ...]]:
    async with (
        OllamaServer(speed).serving() as base_url,
        serving(state_dir, "ollama", {"base_url": base_url, "slots": "64"}) as worker,
    ):
        yield (worker,)


@contextlib.asynccontextmanager
async def _triton(state_dir: Path, speed: dict[str, str]) -> AsyncIterator[tuple[Worker, ...]]:
    """With its OpenAI front end, which is a simulator; what Triton does without one is in `test_triton.py`."""
    async with (
        TritonServer(speed).serving() as (base_url, _),
        serving(state_dir / "server", "sim", speed) as server,
        serving(
            state_dir / "worker",
            "triton",
            {"base_url": base_url, "model": "sim-small", "openai_url": server.base_url, "openai_secret": server.secret},
        ) as worker,
    ):
        yield worker, server


@contextlib.asynccontextmanager
async def _transformers(state_dir: Path, speed: dict[str, str]) -> AsyncIterator[tuple[Worker, ...]]:
    """With a model of a hundred thousand weights, which knows no hurry."""
    async with serving(state_dir, "transformers", {"model": str(tiny_model()), "threads": "1"}) as worker:
        yield (worker,)


SIM_SERVER = Path(__file__).with_name("sim_server.py")


def _supervised(engine: str) -> Maker:
    """The real engine needs a GPU: a simulator's process takes its place, behind the engine's own supervisor and relay.

    What this shows is that the supervised server's answers come through; `tests/live/compute/engines` has servers of other makers.
    """

    @contextlib.asynccontextmanager
    async def make(state_dir: Path, speed: dict[str, str]) -> AsyncIterator[tuple[Worker, ...]]:
        command = f"{sys.executable} {SIM_SERVER} {{port}} {{model}} {speed['speed']}"
        capabilities = "chat,completions,embeddings,tools,json_schema,logprobs"
        options = {"model": "sim-small", "command": command, "capabilities": capabilities, "check_seconds": "0.2", "start_seconds": "30"}
        async with serving(state_dir, engine, options) as worker:
            yield (worker,)

    return make


SUBJECTS: dict[str, Maker] = {
    "sim": _sim,
    "openai": _openai,
    "ollama": _ollama,
    "triton": _triton,
    "transformers": _transformers,
    "llamacpp": _supervised("llamacpp"),
    "vllm": _supervised("vllm"),
    "sglang": _supervised("sglang"),
}


REFUSED: dict[str, dict[str, dict[str, Any]]] = {
    "transformers": {
        "tool_choice": {"tools": [{"type": "function", "function": {"name": "time"}}], "tool_choice": "required"},
        "json_schema": {"response_format": {"type": "json_object"}},
    },
    "ollama": {
        "n": {"n": 2},
        "logit_bias": {"logit_bias": {"1": 5}},
        "tool_choice": {"tools": [{"type": "function", "function": {"name": "time"}}], "tool_choice": "required"},
        "ignore_eos": {"ignore_eos": True},
    },
}
"""What an engine has no word for: feature -> the fields of a chat request that ask for it, which it must answer with a clear 400 that
names the last of them."""

LACKING: dict[str, frozenset[str]] = {
    "ollama": frozenset({"token ids", "parallel tools", "prompt counted first", "log probabilities of the prompt"}),
}
"""What an engine cannot have, and nobody asks for by a field of chat: its tests do not apply."""


SEEDS = {"transformers": 11}


def lacks(engine: str, feature: str) -> bool:
    return feature in REFUSED.get(engine, {}) or feature in LACKING.get(engine, frozenset())


@contextlib.asynccontextmanager
async def subject(engine: str, state_dir: Path, speed: dict[str, str] | None = None) -> AsyncIterator[Subject]:
    """An engine's subject with its smallest model. `speed` reaches the engines that have one."""
    async with SUBJECTS[engine](state_dir, speed or FAST) as workers:
        asked = workers[0]
        assert asked.engine is not None
        offer = min(await asked.engine.models(), key=lambda one: one.context_length or 0)
        headers = {"authorization": f"Bearer {asked.secret}", "content-type": "application/json"}
        async with httpx.AsyncClient(base_url=asked.base_url, headers=headers, timeout=10, trust_env=False) as http:
            yield Subject(http, offer.id, offer, workers, SEEDS.get(engine))


async def within(seconds: float, what: Awaitable[None]) -> None:
    async with asyncio.timeout(seconds):
        await what


def text_of(stream: list[dict[str, Any]], choice: int = 0) -> str:
    deltas = [one for chunk in stream for one in chunk["choices"] if one["index"] == choice]
    return "".join(one["delta"].get("content") or "" for one in deltas)
