"""HEAD is answered as GET, for the log too."""

from typing import Any

import pytest

from penstock.edge.layers.head_requests import HeadAsGet
from tests.unit.edge.asgi import RecordingApp, call, http_scope


async def test_head_reaches_the_routes_as_get_and_stays_head_for_the_server() -> None:
    behind = RecordingApp()
    scope = http_scope("HEAD", "/v1/models")
    await call(HeadAsGet(behind), scope)
    assert ([each["method"] for each in behind.scopes], scope["method"]) == (["GET"], "HEAD")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_other_method_stays_as_sent(method: str) -> None:
    behind = RecordingApp()
    await call(HeadAsGet(behind), http_scope(method))
    assert behind.scopes[0]["method"] == method


async def test_route_that_answered_a_head_is_known_to_the_layers_around() -> None:
    async def routed(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = "/v1/models"

    scope = http_scope("HEAD", "/v1/models")
    await call(HeadAsGet(routed), scope)
    assert scope["route"] == "/v1/models"
