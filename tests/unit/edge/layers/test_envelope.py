"""The outermost layer: what may enter the application at all, and what every answer carries."""

from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from penstock.domain.errors import RateLimited
from penstock.edge.application import control_app
from penstock.edge.layers.envelope import Envelope
from tests.unit.edge.asgi import RecordingApp, call, control_services, http_scope

WEBSOCKET = {"type": "websocket", "path": "/api/me", "headers": [], "subprotocols": [], "client": ("127.0.0.1", 50_000)}


async def test_websocket_scope_is_closed_before_it_reaches_the_application() -> None:
    behind = RecordingApp()
    sent = await call(Envelope(behind, control_services()), dict(WEBSOCKET), {"type": "websocket.connect"})
    assert behind.scopes == []
    assert [(message["type"], message["code"]) for message in sent.messages] == [("websocket.close", 1008)]


async def test_websocket_scope_is_closed_by_the_whole_application() -> None:
    app = control_app(control_services())
    sent = await call(app, dict(WEBSOCKET), {"type": "websocket.connect"})
    assert [message["type"] for message in sent.messages] == ["websocket.close"]


@pytest.mark.parametrize("kind", ["webtransport", "", "HTTP", "http.request"])
async def test_unknown_scope_type_is_refused_without_a_message(kind: str) -> None:
    behind = RecordingApp()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    with pytest.raises(ValueError, match="scope type"):
        await Envelope(behind, control_services())({**WEBSOCKET, "type": kind}, receive, send)
    assert (behind.scopes, sent) == ([], [])


async def test_unknown_scope_type_is_refused_by_the_whole_application() -> None:
    with pytest.raises(ValueError, match="webtransport"):
        await call(control_app(control_services()), {**WEBSOCKET, "type": "webtransport"})


async def test_lifespan_scope_passes() -> None:
    behind = RecordingApp()
    await call(Envelope(behind, control_services()), {"type": "lifespan"})
    assert [scope["type"] for scope in behind.scopes] == ["lifespan"]


async def test_every_answer_has_a_request_id_and_protective_headers() -> None:
    sent = await call(Envelope(RecordingApp(), control_services()), http_scope())
    assert sent.headers.pop("x-request-id")
    assert sent.headers["x-content-type-options"] == "nosniff"
    assert sent.headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in sent.headers["content-security-policy"]
    assert sent.headers["cache-control"] == "no-store"


async def test_answer_outside_api_and_v1_may_be_cached() -> None:
    sent = await call(Envelope(RecordingApp(), control_services()), http_scope(path="/docs"))
    assert "cache-control" not in sent.headers


@pytest.mark.parametrize(("given", "kept"), [("a.client-id_1", True), ("with space", False), ("x" * 129, False), ("", False)])
async def test_client_request_id_is_kept_only_when_printable_and_short(given: str, kept: bool) -> None:
    behind = RecordingApp()
    sent = await call(Envelope(behind, control_services()), http_scope(headers={"x-request-id": given}))
    assert (sent.headers["x-request-id"] == given) is kept
    assert behind.scopes[0]["state"]["request_id"] == sent.headers["x-request-id"]


async def test_exception_becomes_an_answer_under_the_request_id() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise RateLimited("Slower.", retry_after_seconds=2.0)

    sent = await call(Envelope(fail, control_services()), http_scope())
    assert (sent.status, sent.json["code"]) == (429, "rate_limit_exceeded")
    assert sent.json["request_id"] == sent.headers["x-request-id"]


async def test_unexpected_exception_tells_nothing_internal() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("SELECT secret")

    sent = await call(Envelope(fail, control_services()), http_scope())
    assert (sent.status, sent.json["code"]) == (500, "internal_error")
    assert "SELECT" not in str(sent.json)


async def test_exception_after_the_status_was_sent_is_raised_to_the_server() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half an answer")

    with pytest.raises(RuntimeError, match="half an answer"):
        await call(Envelope(fail, control_services()), http_scope())


async def test_client_that_disconnects_gets_no_answer() -> None:
    async def leave(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnect

    assert (await call(Envelope(leave, control_services()), http_scope())).messages == []
