"""A process that a supervised engine can run in place of its own server: OpenAI's API in front of the simulator.

    python sim_server.py PORT MODEL SPEED

It wants the key that the environment gives it, if any, as vLLM does, and answers `/health`, `/v1/models` and `/metrics`.
"""

import asyncio
import os
import sys

import uvicorn

from penstock.compute.engines.sim import SimEngine
from penstock.compute.worker.presence import Presence
from penstock.compute.worker.serve import Receive, Scope, Send, WorkerApp
from penstock.compute.worker.slots import WorkerSlots


async def serve(port: int, model: str, speed: str) -> None:
    engine = SimEngine({"models": model, "speed": speed})
    await engine.open()
    secret = os.environ.get("VLLM_API_KEY") or os.environ.get("LLAMA_API_KEY") or ""
    worker = WorkerApp(engine, secret, WorkerSlots(engine.slots, 16), Presence(engine.load))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if not secret and scope["type"] == "http":
            scope["headers"] = [*scope["headers"], (b"authorization", b"Bearer ")]
        await worker(scope, receive, send)

    await uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_level="info")).serve()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
