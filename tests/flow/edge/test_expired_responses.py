"""`/v1/responses`: an answer whose time is up is answered as one that never was, before the sweep has removed it."""

from typing import Any

import pytest

from penstock.domain.durable.responses import KEPT_SECONDS
from penstock.domain.principal import KeyActor, Principal
from tests.flow.edge.control_api import PLAN, Gateway

RESPONSE = "resp_" + "1" * 24


async def kept(gate: Gateway) -> None:
    """An answer of ours, made at once, as the route would have kept it."""
    caller = Principal(gate.ours.org_id, KeyActor("key_a"), PLAN, frozenset())
    document: dict[str, Any] = {"id": RESPONSE, "object": "response", "status": "completed", "previous_response_id": None, "output": []}
    await gate.services.responses.keep(caller, document, [{"id": "msg_1", "type": "message", "role": "user", "content": "hello"}])


CALLS = {
    "show": ("GET", f"/v1/responses/{RESPONSE}"),
    "list its input items": ("GET", f"/v1/responses/{RESPONSE}/input_items"),
    "delete": ("DELETE", f"/v1/responses/{RESPONSE}"),
    "cancel": ("POST", f"/v1/responses/{RESPONSE}/cancel"),
}


@pytest.mark.parametrize(("method", "path"), CALLS.values(), ids=CALLS)
async def test_expired_response_is_answered_with_404(gate: Gateway, method: str, path: str) -> None:
    await kept(gate)
    gate.clock.advance(KEPT_SECONDS)
    answer = await gate.client.request(method, path, headers=gate.ours.headers())
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == f"Response with id '{RESPONSE}' not found."


async def test_response_is_answered_until_its_last_second(gate: Gateway) -> None:
    await kept(gate)
    gate.clock.advance(KEPT_SECONDS - 1.0)
    shown = await gate.client.get(f"/v1/responses/{RESPONSE}", headers=gate.ours.headers())
    gate.ring.confirm(gate.clock.monotonic())
    items = await gate.client.get(f"/v1/responses/{RESPONSE}/input_items", headers=gate.ours.headers())
    assert (shown.status_code, shown.json()["status"]) == (200, "completed")
    assert items.status_code == 200, items.text
    assert [each["id"] for each in items.json()["data"]] == ["msg_1"]


async def test_expired_response_as_previous_response_is_answered_with_400(gate: Gateway) -> None:
    await kept(gate)
    gate.clock.advance(KEPT_SECONDS)
    body = {"model": "m", "input": "go on", "previous_response_id": RESPONSE}
    answer = await gate.client.post("/v1/responses", headers=gate.ours.headers(), json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["message"]) == ("previous_response_id", f"Previous response with id '{RESPONSE}' not found.")
