"""Upstreams: whom the gateway calls with a secret, and where it must never be sent."""

from typing import Any

import pytest

from penstock.domain.workers import ModelOffer
from tests.flow.edge.control_api import Gateway


async def add(gate: Gateway, **fields: Any) -> dict[str, Any]:
    body = {"name": "hosted", "base_url": "http://127.0.0.1:11434/v1/", "secret": "sk-hosted-secret", **fields}
    answer = await gate.client.post("/api/workers", headers=gate.admin, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_an_upstream_is_asked_for_its_models(gate: Gateway) -> None:
    made = await add(gate)
    assert gate.fleet.probed == [("http://127.0.0.1:11434", "sk-hosted-secret")]
    assert made["models"] == [{"id": "llama", "engine_name": "", "context_length": 8192, "capabilities": ["chat"]}]
    assert (made["kind"], made["base_url"], made["has_secret"], made["slots"]) == ("upstream", "http://127.0.0.1:11434", True, 256)


async def test_secret_of_an_upstream_is_never_shown(gate: Gateway) -> None:
    made = await add(gate)
    for path in ("/api/workers", f"/api/workers/{made['id']}"):
        assert "sk-hosted-secret" not in (await gate.client.get(path, headers=gate.admin)).text


async def test_named_models_of_an_upstream_are_not_probed(gate: Gateway) -> None:
    made = await add(gate, models=["a", {"id": "b", "engine_name": "b-q4", "capabilities": ["chat", "chat"]}])
    assert gate.fleet.probed == []
    record = await gate.store.workers.get(made["id"])
    assert record is not None
    assert record.models == (ModelOffer("a"), ModelOffer("b", "b-q4", None, ("chat",)))


async def test_an_upstream_that_does_not_answer_is_not_added(gate: Gateway) -> None:
    gate.fleet.listed = None
    body = {"name": "hosted", "base_url": "http://127.0.0.1:9"}
    answer = await gate.client.post("/api/workers", headers=gate.admin, json=body)
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_error")
    gate.fleet.listed = ()
    answer = await gate.client.post("/api/workers", headers=gate.admin, json=body)
    assert (answer.status_code, answer.json()["param"]) == (422, "models")
    assert await gate.store.workers.all() == []


async def test_second_upstream_of_the_same_name_is_refused(gate: Gateway) -> None:
    await add(gate)
    answer = await gate.client.post("/api/workers", headers=gate.admin, json={"name": "hosted", "base_url": "http://127.0.0.1:9"})
    assert (answer.status_code, answer.json()["param"]) == (409, "name")


async def test_a_changed_base_url_drops_the_stored_secret(gate: Gateway) -> None:
    """Otherwise whoever may edit an upstream could have its secret sent to a server of their own."""
    made = await add(gate)
    path = f"/api/workers/{made['id']}"
    changed = await gate.client.patch(path, headers=gate.admin, json={"base_url": "http://127.0.0.2:11434"})
    assert (changed.json()["base_url"], changed.json()["has_secret"]) == ("http://127.0.0.2:11434", False)
    record = await gate.store.workers.get(made["id"])
    assert record is not None
    assert record.secret == ""
    assert gate.fleet.records[record.id].secret == ""


async def test_models_asked_for_again_at_a_new_base_url_do_not_get_the_old_secret(gate: Gateway) -> None:
    made = await add(gate)
    body = {"base_url": "http://127.0.0.2:1", "models": None}
    await gate.client.patch(f"/api/workers/{made['id']}", headers=gate.admin, json=body)
    assert gate.fleet.probed[-1] == ("http://127.0.0.2:1", "")


async def test_change_of_an_upstream_keeps_its_secret(gate: Gateway) -> None:
    made = await add(gate)
    path = f"/api/workers/{made['id']}"
    body = {"slots": 3, "pool": "overflow", "name": "other", "base_url": "http://127.0.0.1:11434/"}
    changed = (await gate.client.patch(path, headers=gate.admin, json=body)).json()
    assert (changed["slots"], changed["pool"], changed["name"], changed["has_secret"]) == (3, "overflow", "other", True)
    assert (await gate.client.patch(path, headers=gate.admin, json={"pool": None})).json()["pool"] is None
    assert (await gate.client.patch(path, headers=gate.admin, json={"secret": ""})).json()["has_secret"] is False


@pytest.mark.parametrize(
    "url",
    [
        "http://0.0.0.0:1",
        "http://[::]:1",
        "http://user@127.0.0.1",
        "http://user:secret@127.0.0.1",
        "http://127.0.0.1/?next=1",
        "http://127.0.0.1/#part",
        "http://127.0.0.1:0",
        "http://127.0.0.1:99999",
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1]/",
        "http://224.0.0.1/",
        "http://a b/",
        "http://exa$mple.test/",
        "http:///path",
        "http://[bad/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "//127.0.0.1",
        "http:\\\\127.0.0.1",
    ],
)
async def test_upstream_url_that_could_be_misread_is_refused(gate: Gateway, url: str) -> None:
    answer = await gate.client.post("/api/workers", headers=gate.admin, json={"name": "x", "base_url": url})
    assert (answer.status_code, answer.json()["param"]) == (422, "base_url"), answer.text
    assert gate.fleet.probed == []


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://models.example.com/v1", "https://models.example.com"),
        ("http://localhost:8000/openai/v1/", "http://localhost:8000/openai"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("HTTP://Example.com", "http://example.com"),
        ("http://10.0.0.7", "http://10.0.0.7"),
    ],
)
async def test_upstream_url_is_normalised(gate: Gateway, url: str, kept: str) -> None:
    made = await add(gate, base_url=url)
    assert made["base_url"] == kept
