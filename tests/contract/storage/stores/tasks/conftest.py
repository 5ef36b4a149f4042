from collections.abc import AsyncIterator

import pytest

from penstock.domain.clock import ManualClock
from penstock.storage.stores import open_store
from tests.contract.storage.stores.conftest import SECRET_KEY
from tests.contract.storage.stores.tasks.desk import START, Desk


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    clock = ManualClock(START)
    store = await open_store(store_url, secret_key=SECRET_KEY, clock=clock, migrate=True)
    yield Desk(store, clock)
    await store.close()
