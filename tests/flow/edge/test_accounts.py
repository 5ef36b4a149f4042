"""Organisations, keys and join tokens through the API."""

import base64
from typing import Any

import pytest

from penstock.domain.principal import User
from tests.flow.edge.control_api import PLAN, Gateway


async def made_key(gate: Gateway, **fields: Any) -> dict[str, Any]:
    answer = await gate.client.post("/api/keys", headers=gate.admin, json={"name": "app", **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_me_shows_the_caller_and_its_plan(gate: Gateway) -> None:
    answer = (await gate.client.get("/api/me", headers=gate.ours.headers("usage"))).json()
    assert (answer["org_id"], answer["org_name"], answer["scopes"]) == (gate.ours.org_id, "ours", ["usage:read"])
    assert (answer["plan"]["name"], answer["plan"]["service_class"]) == ("enterprise", "enterprise")


async def test_plans_are_listed_with_their_limits(gate: Gateway) -> None:
    plans = (await gate.client.get("/api/plans", headers=gate.ours.headers("inference"))).json()["data"]
    assert [(plan["name"], plan["requests_per_minute"], plan["tiers"]) for plan in plans] == [
        ("enterprise", PLAN.requests_per_minute, ["default", "priority", "flex", "scale"])
    ]


async def test_a_key_is_shown_once_and_works_at_once(gate: Gateway) -> None:
    made = await made_key(gate, scopes=["inference", "usage:read"], expires_in_seconds=3600, allowed_networks=["127.0.0.0/8"])
    assert made["secret"].startswith(made["hint"])
    assert made["expires_at"] == gate.clock.time() + 3600
    shown = (await gate.client.get(f"/api/keys/{made['id']}", headers=gate.admin)).json()
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    listed = await gate.client.get("/api/keys", headers=gate.admin)
    assert made["secret"] not in listed.text
    assert (await gate.client.get("/v1/models", headers={"authorization": f"Bearer {made['secret']}"})).status_code == 200


async def test_a_revoked_key_is_refused_once_the_change_is_heard(gate: Gateway) -> None:
    made = await made_key(gate)
    headers = {"authorization": f"Bearer {made['secret']}"}
    assert (await gate.client.get("/api/me", headers=headers)).status_code == 200
    before = (await gate.store.changes.since(0)).version
    for _ in range(2):
        assert (await gate.client.delete(f"/api/keys/{made['id']}", headers=gate.admin)).status_code == 204
    gate.ring.forget((await gate.store.changes.since(before)).subjects)
    assert (await gate.client.get("/api/me", headers=headers)).status_code == 401
    assert (await gate.client.get(f"/api/keys/{made['id']}", headers=gate.admin)).json()["revoked_at"] == gate.clock.time()


async def test_a_key_from_another_address_is_refused(gate: Gateway) -> None:
    made = await made_key(gate, allowed_networks=["10.0.0.0/8", "::1"])
    answer = await gate.client.get("/api/me", headers={"authorization": f"Bearer {made['secret']}"})
    assert answer.status_code in (401, 403)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": " x"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 5}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"scopes": "admin"}, "scopes"),
        ({"expires_in_seconds": 0}, "expires_in_seconds"),
        ({"expires_in_seconds": -1}, "expires_in_seconds"),
        ({"expires_in_seconds": 1e12}, "expires_in_seconds"),
        ({"expires_in_seconds": "60"}, "expires_in_seconds"),
        ({"allowed_networks": ["everywhere"]}, "allowed_networks.0"),
        ({"allowed_networks": ["10.0.0.0/33"]}, "allowed_networks"),
        ({"allowed_networks": ["10.0.0.0/8"] * 65}, "allowed_networks"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"requests_per_minute": True}, "requests_per_minute"),
        ({"tokens_per_minute": 1.5}, "tokens_per_minute"),
        ({"org_id": "no such id!"}, "org_id"),
    ],
)
async def test_key_with_wrong_fields_is_refused(gate: Gateway, fields: dict[str, Any], param: str) -> None:
    answer = await gate.client.post("/api/keys", headers=gate.admin, json={"name": "app", **fields})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["param"] == param


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_number_that_is_not_finite_is_refused(gate: Gateway, number: str) -> None:
    headers = {**gate.admin, "content-type": "application/json"}
    content = f'{{"name": "app", "expires_in_seconds": {number}}}'.encode()
    answer = await gate.client.post("/api/keys", headers=headers, content=content)
    assert (answer.status_code, answer.json()["param"]) == (422, "expires_in_seconds")


async def test_an_organisation_from_its_making_to_its_end(gate: Gateway) -> None:
    made = (await gate.client.post("/api/orgs", headers=gate.admin, json={"name": "Ünïcode & Söhne", "plan": "enterprise"})).json()
    path = f"/api/orgs/{made['id']}"
    assert (await gate.client.get(path, headers=gate.admin)).json() == made
    changed = (await gate.client.patch(path, headers=gate.admin, json={"name": "renamed"})).json()
    assert (changed["name"], changed["plan"], changed["disabled"]) == ("renamed", "enterprise", False)
    key = await made_key(gate, org_id=made["id"])
    headers = {"authorization": f"Bearer {key['secret']}"}
    assert (await gate.client.get("/api/me", headers=headers)).json()["org_id"] == made["id"]
    assert (await gate.client.patch(path, headers=gate.admin, json={"disabled": True})).json()["disabled"] is True
    gate.ring.forget([("organisation", made["id"])])
    assert (await gate.client.get("/api/me", headers=headers)).status_code in (401, 403)


async def test_an_unknown_plan_is_refused(gate: Gateway) -> None:
    for call in (
        gate.client.post("/api/orgs", headers=gate.admin, json={"name": "x", "plan": "gold"}),
        gate.client.patch(f"/api/orgs/{gate.ours.org_id}", headers=gate.admin, json={"plan": "gold"}),
    ):
        answer = await call
        assert (answer.status_code in (400, 422), answer.json()["param"]) == (True, "plan")


async def test_lists_are_paged(gate: Gateway) -> None:
    whole = (await gate.client.get("/api/keys", headers=gate.admin)).json()
    assert whole["has_more"] is False
    found: list[str] = []
    after: dict[str, str] = {}
    for _ in range(len(whole["data"])):
        part = (await gate.client.get("/api/keys", headers=gate.admin, params={"limit": "5", **after})).json()
        found += [key["id"] for key in part["data"]]
        if not part["has_more"]:
            break
        after = {"after": found[-1]}
    assert found == [key["id"] for key in whole["data"]]


async def test_join_token_is_created_listed_and_revoked(gate: Gateway) -> None:
    made = (await gate.client.post("/api/join-tokens", headers=gate.admin, json={"role": "worker", "expires_in_seconds": 60})).json()
    assert (made["org_id"], made["expires_at"]) == (None, gate.clock.time() + 60)
    listed = await gate.client.get("/api/join-tokens", headers=gate.admin)
    assert [token["id"] for token in listed.json()["data"]] == [made["id"]]
    assert made["secret"] not in listed.text
    assert (await gate.client.delete(f"/api/join-tokens/{made['id']}", headers=gate.admin)).status_code == 204
    assert (await gate.client.get("/api/join-tokens", headers=gate.admin)).json()["data"][0]["revoked_at"] == gate.clock.time()
    assert (await gate.client.get("/api/join-tokens", headers=gate.ours.headers("workers"))).json()["data"] == []


def basic(email: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{email}:{password}".encode()).decode()}


async def test_an_administrator_signs_in_with_a_password(gate: Gateway) -> None:
    headers = gate.admin
    caller = await gate.services.authenticate(headers["authorization"], "127.0.0.1")
    password = "correct: horse battery"
    await gate.services.accounts.create_user(caller, email="root@example.com", password=password, admin=True)
    user = await gate.services.accounts.create_user(caller, email="user@example.com", password=password)
    assert isinstance(user, User)
    me = await gate.client.get("/api/me", headers=basic("Root@Example.com", password))
    assert (me.status_code, set(me.json()["scopes"]) > {"admin"}) == (200, True)
    assert (await gate.client.get("/api/orgs", headers=basic("root@example.com", password))).status_code == 200
    assert (await gate.client.get("/api/orgs", headers=basic("root@example.com", "wrong"))).status_code == 401
    assert (await gate.client.get("/api/orgs", headers=basic("nobody@example.com", password))).status_code == 401
    assert (await gate.client.get("/api/orgs", headers=basic("user@example.com", password))).status_code == 403
    assert (await gate.client.get("/api/orgs", headers=basic("root@example.com\x00", password))).status_code == 401


async def test_the_administrator_of_a_disabled_organisation_is_refused(gate: Gateway) -> None:
    caller = await gate.services.authenticate(gate.admin["authorization"], "127.0.0.1")
    await gate.services.accounts.create_user(
        caller, email="root@example.com", password="long enough password", admin=True, org_id=gate.theirs.org_id
    )
    await gate.client.patch(f"/api/orgs/{gate.theirs.org_id}", headers=gate.admin, json={"disabled": True})
    assert (await gate.client.get("/api/me", headers=basic("root@example.com", "long enough password"))).status_code == 403
