"""A pool of child processes alone, called like the kind `function` calls it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from penstock.processes.runner.child_output import AttemptLog
from penstock.processes.runner.child_pool import ChildPool
from penstock.processes.runner.child_process import ChildOptions
from penstock.processes.runner.frames import DoneFrame, RaisedFrame, RunFrame, raw
from penstock.processes.runner.task_kind import RunningAttempt

MODULE = "tests.flow.durable.tasks.functions_that_misbehave"
SECONDS = 20.0


class Calls:
    """A pool, called like the kind `function` calls it."""

    def __init__(self, pool: ChildPool) -> None:
        self.pool = pool
        self.progress: list[str] = []
        self.log = AttemptLog(0)

    async def call(self, name: str, *arguments: Any, task: str = "task_1", seconds: float | None = None) -> DoneFrame | RaisedFrame:
        self.progress, self.log = [], AttemptLog(4_000)
        attempt = RunningAttempt(self.progress.append, seconds)
        work = RunFrame(task, 1, name, raw(json.dumps(arguments).encode()))
        async with asyncio.timeout(SECONDS), attempt.timeout():
            return await self.pool.run(work, attempt, self.log)

    async def result(self, name: str, *arguments: Any, task: str = "task_1") -> Any:
        answer = await self.call(name, *arguments, task=task)
        assert isinstance(answer, DoneFrame), answer
        return msgspec.json.decode(answer.result)

    async def error(self, name: str, *arguments: Any) -> RaisedFrame:
        answer = await self.call(name, *arguments)
        assert isinstance(answer, RaisedFrame), answer
        return answer


@asynccontextmanager
async def opened(processes: int = 1, **options: Any) -> AsyncIterator[Calls]:
    pool = ChildPool(ChildOptions((MODULE,), **options), processes)
    await pool.open()
    try:
        yield Calls(pool)
    finally:
        await pool.close()
        assert len(pool) == 0
