"""A worker as a process: signals, crash, refusal."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.compute.worker.faults import CRASH_STATUS
from tests.flow.compute.worker.fake_gateway import gateway
from tests.support.interrupts import interrupts_reach_children

MAIN = """
import asyncio, json, pathlib, sys
from penstock.compute.worker import WorkerPlan, run
plan = json.loads(sys.argv[1])
plan["state_dir"] = pathlib.Path(plan["state_dir"])
sys.exit(asyncio.run(run(WorkerPlan(**plan))))
"""
LONG = {"model": "sim-small", "messages": [{"role": "user", "content": "Go on"}], "max_tokens": 100, "ignore_eos": True, "stream": True}


@contextlib.asynccontextmanager
async def started(tmp_path: Path, join: str) -> AsyncIterator[asyncio.subprocess.Process]:
    plan: dict[str, Any] = {
        "join": join,
        "token": "pjt-x",
        "name": "gpu",
        "engine": "sim",
        "engine_options": {"speed": "2"},
        "host": "127.0.0.1",
        "port": 0,
        "advertise": "",
        "slots": 0,
        "pool": None,
        "state_dir": str(tmp_path),
        "allow_faults": True,
        "version": "1",
    }
    with interrupts_reach_children():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            MAIN,
            json.dumps(plan),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(os.environ),
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def ended(process: asyncio.subprocess.Process, seconds: float = 10) -> int:
    async with asyncio.timeout(seconds):
        return await process.wait()


async def read_stream(http: httpx.AsyncClient, received: list[bytes]) -> None:
    async with http.stream("POST", "/v1/chat/completions", json=LONG) as stream:
        async for piece in stream.aiter_raw():
            received.append(piece)  # noqa: PERF401 - what came before the break must be kept


async def to_the_end(pieces: AsyncIterator[bytes]) -> None:
    async with asyncio.timeout(1):
        async for _ in pieces:
            pass


async def test_sigterm_finishes_what_runs_tells_the_gateway_and_exits_0(tmp_path: Path) -> None:
    async with gateway() as there, started(tmp_path, there.url) as process:
        card = await there.hears("join", seconds=20)
        await there.hears("heartbeat")
        headers = {"authorization": f"Bearer {card['secret']}"}
        async with (
            httpx.AsyncClient(base_url=card["base_url"], headers=headers, trust_env=False) as http,
            http.stream("POST", "/v1/chat/completions", json=LONG) as stream,
        ):
            pieces = stream.aiter_raw()
            text = await anext(pieces)
            process.send_signal(signal.SIGTERM)
            beat = await there.hears("heartbeat", draining=True)
            assert beat["running"] == 1
            async for piece in pieces:
                text += piece
        assert text.count(b'"content"') == 1 + 100
        assert text.endswith(b"data: [DONE]\n\n")
        await there.hears("leave")
        assert await ended(process) == 0
        assert process.stdout is not None
        assert await process.stdout.read() == b""


async def test_second_signal_ends_the_worker_at_once(tmp_path: Path) -> None:
    async with gateway() as there, started(tmp_path, there.url) as process:
        card = await there.hears("join", seconds=20)
        await there.hears("heartbeat")
        headers = {"authorization": f"Bearer {card['secret']}"}
        async with (
            httpx.AsyncClient(base_url=card["base_url"], headers=headers, trust_env=False) as http,
            http.stream("POST", "/v1/chat/completions", json={**LONG, "max_tokens": 5000}) as stream,
        ):
            pieces = stream.aiter_raw()  # kept: httpx closes a response with its iterator
            await anext(pieces)
            process.send_signal(signal.SIGTERM)
            await there.hears("heartbeat", draining=True)
            process.send_signal(signal.SIGINT)
            assert await ended(process, 2) == 128 + signal.SIGINT


async def test_a_crash_is_seen_by_its_link(tmp_path: Path) -> None:
    async with gateway() as there, started(tmp_path, there.url) as process:
        card = await there.hears("join", seconds=20)
        headers = {"authorization": f"Bearer {card['secret']}"}
        async with httpx.AsyncClient(base_url=card["base_url"], headers=headers, trust_env=False) as http:
            await http.post("/penstock/fault", json={"kind": "crash", "after_events": 3})
            async with http.stream("GET", "/penstock/link") as link:
                pieces = link.aiter_raw()
                await anext(pieces)
                received: list[bytes] = []
                with pytest.raises(httpx.RemoteProtocolError):
                    await read_stream(http, received)
                assert b"".join(received).count(b"\n\n") == 3
                with pytest.raises(httpx.RemoteProtocolError):
                    await to_the_end(pieces)
        assert await ended(process) == CRASH_STATUS


async def test_a_refused_worker_says_why_and_exits_1(tmp_path: Path) -> None:
    async with gateway() as there:
        there.join_answers = [(401, {"detail": "The join token has expired."})]
        async with started(tmp_path, there.url) as process:
            assert await ended(process, 20) == 1
            assert process.stderr is not None
            assert b"The join token has expired." in await process.stderr.read()
