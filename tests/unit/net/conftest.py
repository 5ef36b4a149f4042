import asyncio
from collections.abc import Callable

import pytest
import uvloop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The order in which asyncio and uvloop tell of data, resets and closing differs."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
