from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.observe import logs
from tests.support.gateway_with_runner import GatewayWithRunner, gateway_with_runner


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    logs.configure("error", "json")


@pytest.fixture
async def running_gateway(tmp_path: Path) -> AsyncIterator[GatewayWithRunner]:
    async with gateway_with_runner(tmp_path) as made:
        yield made
