"""A gateway in this process with a runner of its own, whose functions run in real child processes."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.app.runner import OwnRunner
from tests.support.gateway import Platform, ScriptedServer, platform, scripted, well
from tests.support.waiting import until_answer

MODULE = "tests.flow.durable.tasks.functions_of_users"
TERMINAL = {"succeeded", "failed", "cancelled", "skipped"}
ANSWER_SECONDS = 20.0


@dataclass
class TaskApiClient:
    """Tasks as a client of the API sees them."""

    platform: Platform
    runner: OwnRunner
    server: ScriptedServer

    async def submit(self, name: str = "", payload: Any = None, **fields: Any) -> str:
        return (await self.submit_many({"name": name, "payload": payload, **fields}))[0]

    async def submit_many(self, *tasks: Mapping[str, Any]) -> list[str]:
        answer = await self.platform.http.post("/api/tasks", json={"tasks": list(tasks)})
        assert answer.status_code == 201, answer.text
        return [each["id"] for each in answer.json()["data"]]

    async def show(self, task_id: str) -> dict[str, Any]:
        answer = await self.platform.http.get(f"/api/tasks/{task_id}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def until_terminal(self, task_id: str) -> dict[str, Any]:
        """The task, when it has ended."""
        return await self.until(task_id, TERMINAL)

    async def until(self, task_id: str, statuses: set[str]) -> dict[str, Any]:
        return await until_answer(lambda: self.show(task_id), lambda task: task["status"] in statuses, ANSWER_SECONDS)

    async def outcome(self, name: str, payload: Any = None, **fields: Any) -> dict[str, Any]:
        return await self.until_terminal(await self.submit(name, payload, **fields))


@asynccontextmanager
async def task_api_client(directory: Path, **settings: Any) -> AsyncIterator[TaskApiClient]:
    """`settings` are sections or fields of the settings tree."""
    assert MODULE not in sys.modules, "users' code belongs into child processes"
    async with scripted(well) as (server,), platform(directory, [server.url], imports=(MODULE,), **settings) as running:
        runner = OwnRunner(running.gateway.settings, running.gateway.task_services)
        await runner.open()
        runner.start()
        try:
            yield TaskApiClient(running, runner, server)
        finally:
            await runner.close()
