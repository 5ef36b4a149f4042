"""A run on PostgreSQL (PENSTOCK_TEST_STORE) leaves no databases behind."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import chosen_store, drop_databases


@pytest.fixture(scope="module", autouse=True)
def dropped_databases() -> Iterator[None]:
    yield
    if chosen_store() == "postgresql":
        drop_databases()
