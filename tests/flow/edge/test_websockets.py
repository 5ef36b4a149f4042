"""A WebSocket handshake over a real socket opens nothing: the request is an ordinary one, and needs a key as any other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.gateway import CHAT, Answer, Platform, platform, raw, request

pytestmark = pytest.mark.asyncio(loop_scope="module")
HANDSHAKE = ("connection: Upgrade", "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    directory: Path = tmp_path_factory.mktemp("websockets")
    async with platform(directory) as running:
        yield running


async def ask(gate: Platform, path: str, *headers: str, method: str = "GET") -> Answer:
    async with raw(gate.port) as client:
        await client.send(request(path, b"", *HANDSHAKE, *headers, method=method))
        return await client.answer()


@pytest.mark.parametrize("path", ["/api/me", "/api/live", "/v1/models", "/v1/realtime?model=x"])
async def test_websocket_handshake_without_a_key_is_401(gate: Platform, path: str) -> None:
    assert (await ask(gate, path)).status == 401


async def test_websocket_handshake_on_the_fast_lane_without_a_key_is_401(gate: Platform) -> None:
    assert (await ask(gate, CHAT, method="POST")).status == 401


async def test_websocket_handshake_with_a_key_is_answered_as_the_plain_request(gate: Platform) -> None:
    answer = await ask(gate, "/api/me", f"authorization: Bearer {gate.first.api_key}")
    assert answer.status == 200
    assert "upgrade" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/nothing"])
async def test_websocket_handshake_outside_the_api_is_not_accepted(gate: Platform, path: str) -> None:
    assert (await ask(gate, path)).status in (200, 404)
