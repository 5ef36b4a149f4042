import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from penstock.domain.ports import Store
from penstock.storage.stores import open_store
from penstock.storage.stores._schema import described
from tests.support import postgres

MEMBERS = {"": ("sqlite-file", "sqlite-memory", "postgres"), "sqlite": ("sqlite-file", "sqlite-memory"), "postgresql": ("postgres",)}[
    postgres.chosen_store()
]
SECRET_KEY = b"k" * 32
_TABLES = reversed(described("postgresql").sorted_tables)
EMPTY = "".join(f'DELETE FROM "{table.name}"; ' for table in _TABLES) + "INSERT INTO change_counter VALUES (1, 0)"


@pytest.fixture(scope="session")
def migrated_postgres() -> Iterator[str]:
    """One database with our schema for all tests: making and migrating one for each takes a second or two."""
    with postgres.database() as url:
        asyncio.run(_migrate(url))
        yield url


@pytest.fixture(params=MEMBERS)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store of each kind."""
    if request.param == "postgres":
        url = request.getfixturevalue("migrated_postgres")
        yield url
        with psycopg.connect(url) as connection:
            connection.execute(EMPTY)
    elif request.param == "sqlite-file":
        yield f"sqlite:///{tmp_path}/penstock.db"
    else:
        yield "sqlite://"


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    opened = await open_store(store_url, secret_key=SECRET_KEY, migrate=True)
    yield opened
    await opened.close()


async def _migrate(url: str) -> None:
    store = await open_store(url, secret_key=SECRET_KEY, migrate=True)
    await store.close()
