"""The loop that the product runs on, and a gateway for tests that need nothing special of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from penstock.observe import logs
from tests.support.gateway import Platform, ScriptedServer, platform, scripted, well


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The order in which asyncio and uvloop tell of data, resets and closing differs."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """As the product writes them; structlog's own default prints local variables with every trace."""
    logs.configure("error", "json")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """An upstream that answers as it should, until a test gives it another script."""
    async with scripted(well) as (one,):
        yield one


@pytest.fixture
async def gate(server: ScriptedServer, tmp_path: Path) -> AsyncIterator[Platform]:
    """A gateway before `server`, which must have given everything back at the end."""
    async with platform(tmp_path, [server.url]) as running:
        yield running
        await running.until_quiet()
