"""One gateway a test."""

import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from penstock.observe import logs
from tests.flow.edge.control_api import Gateway, gateway


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """As the product writes them; structlog's own default prints local variables with every trace."""
    logs.configure("error", "json")


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """A function that decodes what has been logged since."""
    out = io.StringIO()
    logs.configure("info", "json", out)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    logs.configure("error", "json")


@pytest.fixture
async def gate() -> AsyncIterator[Gateway]:
    async with gateway() as built:
        yield built
