"""One gateway a test."""

from collections.abc import AsyncIterator

import pytest

from tests.flow.control.gateway import Gateway, gateway


@pytest.fixture
async def gate() -> AsyncIterator[Gateway]:
    async with gateway() as built:
        yield built
