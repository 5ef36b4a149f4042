"""One gateway with a runner for all that need nothing special of it: starting children takes a moment."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from penstock.observe import logs
from tests.support.task_api_client import TaskApiClient, task_api_client


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    logs.configure("error", "json")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tasks_api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TaskApiClient]:
    settings = {"runner": {"processes": 2, "webhook_networks": ("127.0.0.0/8",), "drain_seconds": 2}}
    async with task_api_client(tmp_path_factory.mktemp("task_api_client"), **settings) as running:
        yield running
