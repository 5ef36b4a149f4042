"""One gateway a test."""

from collections.abc import AsyncIterator

import pytest

from penstock.edge import logs
from tests.flow.control.gateway import Gateway, gateway


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """As the product writes them; structlog's own default prints local variables with every trace."""
    logs.configure("error", "json")


@pytest.fixture
async def gate() -> AsyncIterator[Gateway]:
    async with gateway() as built:
        yield built
