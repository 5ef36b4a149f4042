import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from penstock.domain.ports import Store
from penstock.stores import open_store
from tests import postgres

MEMBERS = ("sqlite-file", "sqlite-memory", "postgres")
SECRET_KEY = b"k" * 32


@pytest.fixture(scope="session")
def migrated_postgres() -> Iterator[str]:
    """The name of a database with our schema, to copy from: migrating each test's own takes much longer."""
    with postgres.database() as url:
        asyncio.run(_migrate(url))
        yield urlsplit(url).path.lstrip("/")


@pytest.fixture(params=MEMBERS)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store of each kind."""
    if request.param == "postgres":
        with postgres.database(request.getfixturevalue("migrated_postgres")) as url:
            yield url
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
