"""Penstock: joined to PostgreSQL directly, or everything over HTTP, submissions as well."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
import psycopg
import uvloop

from bench.queue.sides import driver
from bench.queue.work import opened
from penstock.accounts.bootstrap import first_start
from penstock.domain.clock import SystemClock
from penstock.domain.durable.tasks import NewTask
from penstock.domain.ids import TaskIds

ADDRESS, API_KEY = os.environ["BENCH_ADDRESS"], os.environ.get("BENCH_API_KEY", "")


class Direct:
    async def open(self) -> None:
        self._context = opened(ADDRESS)
        store = await self._context.__aenter__()
        await first_start(store.accounts, b"bench", SystemClock())
        self._org = (await store.accounts.organisations())[0].id
        self._tasks = store.tasks
        self._looker = await psycopg.AsyncConnection.connect(ADDRESS, autocommit=True)
        self._ids = TaskIds()

    async def submit(self, payloads: Sequence[dict[str, Any]]) -> None:
        await self._tasks.enqueue([self._new("noop", payload) for payload in payloads])

    async def submit_beep(self, port: int) -> None:
        await self._tasks.enqueue([self._new("beep", [port])])

    async def left(self) -> int:
        found = await (await self._looker.execute("SELECT count(*) FROM task_hot")).fetchone()
        return int(found[0]) if found else 0

    async def close(self) -> None:
        await self._looker.close()
        await self._context.__aexit__(None, None, None)

    def _new(self, name: str, payload: Any) -> NewTask:
        text = msgspec.json.encode(payload).decode()
        return NewTask(id=self._ids.next(time.time()), org_id=self._org, kind="function", name=name, payload=text)


class OverHttp:
    async def open(self) -> None:
        headers = {"authorization": f"Bearer {API_KEY}", "content-type": "application/json"}
        self._client = httpx.AsyncClient(base_url=ADDRESS, headers=headers, timeout=30, trust_env=False)

    async def submit(self, payloads: Sequence[dict[str, Any]]) -> None:
        await self._post({"tasks": [{"name": "noop", "payload": payload} for payload in payloads]})

    async def submit_beep(self, port: int) -> None:
        await self._post({"name": "beep", "payload": [port]})

    async def left(self) -> int:
        answer = (await self._client.get("/api/queues")).raise_for_status()
        return sum(queue["scheduled"] + queue["ready"] + queue["running"] for queue in answer.json()["data"])

    async def close(self) -> None:
        await self._client.aclose()

    async def _post(self, body: Any) -> None:
        (await self._client.post("/api/tasks", content=msgspec.json.encode(body))).raise_for_status()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(driver.drive(OverHttp() if sys.argv[1] == "http" else Direct()))
