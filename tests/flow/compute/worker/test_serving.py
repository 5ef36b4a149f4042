"""The worker's own pages, its link, its limits, faults on demand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from penstock.compute.worker import Worker
from tests.contract.compute.engines.subjects import serving, within

LONG = {"model": "sim-small", "messages": [{"role": "user", "content": "Go on"}], "max_tokens": 5000, "ignore_eos": True, "stream": True}
SHORT = {**LONG, "max_tokens": 4}


@contextlib.asynccontextmanager
async def asked(tmp_path: Path, speed: str = "1", **plan: Any) -> AsyncIterator[tuple[Worker, httpx.AsyncClient]]:
    async with serving(tmp_path, "sim", {"speed": speed}, **plan) as worker:
        headers = {"authorization": f"Bearer {worker.secret}"}
        async with httpx.AsyncClient(base_url=worker.base_url, headers=headers, timeout=10, trust_env=False) as http:
            yield worker, http


async def test_link_sends_hello_then_load_and_a_drain_at_once(tmp_path: Path) -> None:
    async with asked(tmp_path) as (worker, http), http.stream("GET", "/penstock/link") as link:
        lines = link.aiter_lines()
        assert msgspec.json.decode(await anext(lines)) == {
            "type": "hello",
            "worker_id": "",
            "slots": 64,
            "models": ["sim-small", "sim-large"],
        }
        idle = {"type": "load", "running": 0, "waiting": 0, "kv_usage": 0.0, "draining": False}
        assert msgspec.json.decode(await anext(lines)) == idle
        worker.presence.change(stopping=True)
        async with asyncio.timeout(0.5):
            assert msgspec.json.decode(await anext(lines)) == {**idle, "draining": True}


async def test_the_link_ends_with_the_worker(tmp_path: Path) -> None:
    async with asked(tmp_path) as (worker, http), http.stream("GET", "/penstock/link") as link:
        lines = link.aiter_lines()
        await anext(lines)
        worker.presence.change(closed=True)
        async with asyncio.timeout(1):
            rest = [line async for line in lines]
        assert len(rest) <= 2


async def test_health_and_metrics_follow_the_load_and_the_drain(tmp_path: Path) -> None:
    async with asked(tmp_path, speed="1000") as (worker, http):
        assert (await http.get("/health")).json() == {"status": "ok"}
        await http.post("/v1/chat/completions", json=SHORT)
        await http.post("/v1/chat/completions", json={**SHORT, "model": "unknown"})
        lines = (await http.get("/metrics")).text.splitlines()
        assert 'penstock_worker_requests_total{operation="chat",status="200"} 1' in lines
        assert 'penstock_worker_requests_total{operation="chat",status="404"} 1' in lines
        assert "penstock_worker_requests_running 0" in lines
        assert "penstock_worker_slots 64" in lines
        worker.presence.change(drained_by_operator=True)
        health = await http.get("/health")
        assert (health.status_code, health.json()) == (503, {"status": "draining"})


async def test_request_beyond_slots_and_queue_is_refused_as_busy(tmp_path: Path) -> None:
    async with asked(tmp_path, slots=1, queue_limit=1) as (worker, http), http.stream("POST", "/v1/chat/completions", json=LONG) as first:
        pieces = first.aiter_raw()  # kept: httpx closes a response with its iterator
        await anext(pieces)
        waiting = asyncio.create_task(http.post("/v1/chat/completions", json=SHORT))
        async with http.stream("GET", "/penstock/link") as link:
            async for line in link.aiter_lines():
                if msgspec.json.decode(line).get("waiting") == 1:
                    break
        refused = await http.post("/v1/chat/completions", json=SHORT)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_overloaded")
        assert refused.headers["retry-after"] == "1"
        await first.aclose()
        assert (await waiting).status_code == 200
        assert worker.slots is not None
        await within(1, worker.slots.until_idle())


async def test_a_worker_that_stops_refuses_what_is_new_and_finishes_the_rest(tmp_path: Path) -> None:
    async with asked(tmp_path, speed="50") as (worker, http):
        running = {**LONG, "max_tokens": 200}
        async with http.stream("POST", "/v1/chat/completions", json=running) as stream:
            pieces = stream.aiter_raw()
            text = await anext(pieces)
            draining = asyncio.create_task(worker.drain())
            while not worker.presence.refusing:
                await worker.presence.changed(1)
            refused = await http.post("/v1/chat/completions", json=SHORT)
            assert refused.status_code == 503
            async for piece in pieces:
                text += piece
        assert text.endswith(b"data: [DONE]\n\n")
        await within(1, draining)


async def test_a_body_without_end_is_413(tmp_path: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 1024 * 1024

    async with asked(tmp_path) as (_, http):
        response = await http.post("/v1/chat/completions", content=body())
        assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


async def test_fault_request_without_permission_is_404(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, http):
        assert (await http.post("/penstock/fault", json={"kind": "hang"})).status_code == 404


async def test_faults_strike_the_next_requests(tmp_path: Path) -> None:
    async with asked(tmp_path, speed="1000", allow_faults=True) as (worker, http):
        assert (await http.post("/penstock/fault", json={"kind": "sing"})).status_code == 400
        assert (await http.post("/penstock/fault", json={"kind": "garbage", "after_events": 2})).status_code == 200
        broken = (await http.post("/v1/chat/completions", json=SHORT)).content
        assert broken.count(b"chat.completion.chunk") == 2
        assert b"[DONE]" not in broken
        assert (await http.post("/v1/chat/completions", json=SHORT)).text.endswith("data: [DONE]\n\n")
        await http.post("/penstock/fault", json={"kind": "hang"})
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/v1/chat/completions", json=SHORT, timeout=0.2)
        assert worker.slots is not None
        await within(1, worker.slots.until_idle())
