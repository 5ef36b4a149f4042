"""A client of the SDK that is installed here, for each of the engines."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.live.sdk.target import ENGINES, Target, Targets

NewKey = Callable[..., dict[str, Any]]


@pytest.fixture(params=ENGINES, scope="session")
def target(request: pytest.FixtureRequest, targets: Targets) -> Target:
    return targets[request.param]


@pytest.fixture
def client(target: Target) -> Iterator[OpenAI]:
    with OpenAI(base_url=target.base_url, api_key=target.api_key, max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
async def async_client(target: Target) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=target.base_url, api_key=target.api_key, max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def new_key(target: Target) -> NewKey:
    """Makes an API key with what `POST /api/keys` accepts; its secret is in `secret`."""

    def make(**fields: Any) -> dict[str, Any]:
        key: dict[str, Any] = target.control.post("/api/keys", {"name": "conformance", **fields})
        return key

    return make
