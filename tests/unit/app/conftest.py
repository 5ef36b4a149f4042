from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.app.gateway.assembly import Gateway, open_gateway
from penstock.app.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a gateway on a free port that polls so seldom that only the test asks for changes."""
    return Settings(data_dir=tmp_path / "data", port=0, discover=False, profile=tmp_path / "profiles")


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Open, and not serving."""
    one = await open_gateway(settings, migrate=True)
    yield one
    await one.close()
