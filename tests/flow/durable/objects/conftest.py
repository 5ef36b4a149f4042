from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.observe import logs
from tests.flow.durable.objects.desk import Desk, desk


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    logs.configure("error", "json")


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path) as made:
        yield made
