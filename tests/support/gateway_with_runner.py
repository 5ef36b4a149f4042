"""A gateway with a runner of its own before a scripted server, and the SDK as its client."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from openai import AsyncOpenAI

from penstock.app.runner import OwnRunner
from penstock.domain.ports import Store
from tests.support.gateway import Platform, Script, ScriptedServer, platform, scripted, well
from tests.support.waiting import until_answer

T = TypeVar("T")
SECONDS = 20.0


@dataclass
class GatewayWithRunner:
    platform: Platform
    server: ScriptedServer
    client: AsyncOpenAI

    async def until(self, ask: Callable[[], Awaitable[T]], good: Callable[[T], bool]) -> T:
        """The first answer that is good, seen as a client sees it."""
        return await until_answer(ask, good, SECONDS)


@asynccontextmanager
async def gateway_with_runner(
    directory: Path, script: Script = well, *, store: Callable[[Store], Store] | None = None, runs: bool = True, **settings: Any
) -> AsyncIterator[GatewayWithRunner]:
    """`runs`: with a runner for tasks."""
    async with scripted(script) as (server,), platform(directory, [server.url], store=store, **settings) as running:
        runner = OwnRunner(running.gateway.settings, running.gateway.task_services) if runs else None
        if runner is not None:
            await runner.open()
            runner.start()
        try:
            async with AsyncOpenAI(base_url=f"{running.gateway.base_url}/v1", api_key=running.first.api_key, max_retries=0) as client:
                yield GatewayWithRunner(running, server, client)
        finally:
            if runner is not None:
                await runner.close()
