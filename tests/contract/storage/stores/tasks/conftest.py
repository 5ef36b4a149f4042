from collections.abc import AsyncIterator

import pytest

from penstock.domain.clock import ManualClock
from penstock.storage.stores import open_store
from tests.contract.storage.stores.conftest import SECRET_KEY
from tests.contract.storage.stores.tasks.task_store_client import START, TaskStoreClient


@pytest.fixture
async def client(store_url: str) -> AsyncIterator[TaskStoreClient]:
    clock = ManualClock(START)
    store = await open_store(store_url, secret_key=SECRET_KEY, clock=clock, migrate=True)
    yield TaskStoreClient(store, clock)
    await store.close()
