"""The policy over the API: what is in force, edits that are looked at first, versions, the way back."""

from typing import Any

import httpx

from penstock.domain.policy import Policy, PolicyVersion, RoutingPolicy
from tests.flow.edge.control_api import PLAN, Gateway


async def put(gate: Gateway, policy: dict[str, Any], comment: str = "", **options: Any) -> httpx.Response:
    return await gate.client.put("/api/policy", json={"policy": policy, "comment": comment}, headers=gate.admin | options)


async def get(gate: Gateway, path: str = "") -> Any:
    answer = await gate.client.get(f"/api/policy{path}", headers=gate.admin)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_new_installation_has_the_defaults(gate: Gateway) -> None:
    answer = await gate.client.get("/api/policy", headers=gate.admin)
    assert (answer.headers["etag"], answer.json()["version"]) == ('"0"', 0)
    policy = answer.json()["policy"]
    assert policy["classes"]["free"] == {"weight": 32, "bound": 512, "patience_seconds": 30}
    assert policy["plans"][PLAN.name]["class"] == "enterprise"
    assert policy["tiers"]["priority"] == {
        "pools": ["priority"],
        "spill": [],
        "downgrade": ["standard"],
        "downgrade_to": "default",
    }
    assert await get(gate, "/versions") == {"data": [], "has_more": False}


async def test_policy_edit_answers_with_its_changes(gate: Gateway) -> None:
    answer = await put(gate, {"classes": {"free": {"weight": 64}}, "tenants": {"org_x": {"weight": 2}}}, "more for free")
    assert (answer.status_code, answer.headers["etag"]) == (200, '"1"')
    edit = answer.json()
    assert [change["text"] for change in edit["changes"]] == ["~ classes.free.weight: 32 -> 64", "+ tenants.org_x.weight = 2"]
    assert edit["changes"][0] | {"text": ""} == {"field": "classes.free.weight", "before": 32, "after": 64, "text": ""}
    found = await get(gate)
    assert (found["version"], found["comment"], found["policy"]["classes"]["free"]["weight"]) == (1, "more for free", 64)
    assert found["policy"]["plans"][PLAN.name]["concurrency"] == PLAN.concurrency, "plans that are left out stay"
    assert await get(gate, "/versions/1") == found


async def test_policy_in_force_can_be_put_unchanged(gate: Gateway) -> None:
    await put(gate, {"models": {"a/b.c": {"policy": "power_of_two"}}, "pools": {"priority_reserve": 0.2}})
    again = await put(gate, (await get(gate))["policy"])
    assert (again.json()["version"], again.json()["changes"]) == (1, [])


async def test_dry_run_of_a_policy_edit_changes_nothing(gate: Gateway) -> None:
    answer = await gate.client.put("/api/policy", params={"dry_run": True}, json={"policy": {"preempt_batch": False}}, headers=gate.admin)
    assert (answer.json()["dry_run"], [each["text"] for each in answer.json()["changes"]]) == (True, ["~ preempt_batch: yes -> no"])
    assert "etag" not in answer.headers
    assert (await get(gate))["version"] == 0


async def test_an_edit_of_what_is_no_longer_in_force_is_refused(gate: Gateway) -> None:
    assert (await put(gate, {}, **{"if-match": '"0"'})).status_code == 200
    refused = await put(gate, {"preempt_batch": False}, **{"if-match": '"0"'})
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert (await put(gate, {"preempt_batch": False}, **{"if-match": '"1"'})).json()["version"] == 2
    assert (await put(gate, {}, **{"if-match": "W/x"})).status_code == 422


async def test_policy_versions_are_compared_and_rolled_back(gate: Gateway) -> None:
    for weight in (33, 34, 35):
        await put(gate, {"classes": {"free": {"weight": weight}}})
    assert [each["version"] for each in (await get(gate, "/versions?limit=2"))["data"]] == [3, 2]
    assert (await get(gate, "/versions?limit=2"))["has_more"] is True
    assert [each["version"] for each in (await get(gate, "/versions?before=2"))["data"]] == [1]
    assert [each["text"] for each in (await get(gate, "/diff?from=1"))["data"]] == ["~ classes.free.weight: 33 -> 35"]
    assert [each["text"] for each in (await get(gate, "/diff?from=2&to=0"))["data"]] == ["~ classes.free.weight: 34 -> 32"]
    back = await gate.client.post("/api/policy/rollback", json={"version": 1}, headers=gate.admin)
    assert (back.json()["version"], back.json()["policy"]["classes"]["free"]["weight"]) == (4, 33)
    assert (await get(gate))["comment"] == "back to version 1"
    missing = await gate.client.post("/api/policy/rollback", json={"version": 99}, headers=gate.admin)
    assert missing.status_code == 404


async def test_invalid_policy_names_the_wrong_field(gate: Gateway) -> None:
    wrong = {
        "classes": {"free": {"weight": 0}, "gold": {}},
        "tiers": {"flex": {"pools": ["overflow", "overflow"]}},
        "routing": {"policy": "nearest"},
        "tenants": {"org_x": {"weight": "2"}},
        "surprise": 1,
    }
    answer = await put(gate, wrong)
    assert answer.status_code == 422
    fields = {each["param"]: each["detail"] for each in answer.json()["errors"]}
    assert fields["policy.routing"].startswith("A routing policy is one of: ")
    assert {"policy.classes.free.weight", "policy.tiers.flex", "policy.tenants.org_x.weight", "policy.surprise"} < fields.keys()
    assert (await get(gate))["version"] == 0


async def test_stored_policy_that_names_a_missing_routing_policy_can_be_shown_compared_and_left(gate: Gateway) -> None:
    await put(gate, {"preempt_batch": False})
    missing = RoutingPolicy("installed_elsewhere")
    policy = Policy(plans=tuple(await gate.store.accounts.plans()), routing=missing, models={"llama": missing})
    assert await gate.store.policies.save(PolicyVersion(2, policy, "test", "", 1.0))
    shown = (await get(gate))["policy"]
    assert shown["routing"] == {"policy": "installed_elsewhere", "shadow": None}
    assert shown["models"]["llama"]["policy"] == "installed_elsewhere"
    assert (await get(gate, "/versions/2"))["policy"] == shown
    assert {each["field"] for each in (await get(gate, "/diff?from=1"))["data"]} >= {"preempt_batch", "routing.policy"}
    refused = await put(gate, shown)
    assert (refused.status_code, refused.json()["errors"][0]["param"]) == (422, "policy.routing")
    edit = await put(gate, shown | {"routing": {}, "models": {}})
    assert (edit.status_code, edit.json()["policy"]["routing"]["policy"]) == (200, None)
    back = await gate.client.post("/api/policy/rollback", json={"version": 1}, headers=gate.admin)
    assert (back.status_code, back.json()["policy"]["preempt_batch"]) == (200, False)


async def test_plans_are_edited_and_one_in_use_stays(gate: Gateway) -> None:
    silver = {"class": "premium", "requests_per_minute": 10, "tokens_per_minute": 1000, "concurrency": 2}
    refused = await put(gate, {"plans": {"silver": silver}})
    assert (refused.status_code, refused.json()["param"]) == (409, "plans")
    both = (await get(gate))["policy"]["plans"] | {"silver": silver}
    edit = (await put(gate, {"plans": both})).json()
    assert {each["field"] for each in edit["changes"]} >= {"plans.silver.class", "plans.silver.concurrency"}
    assert {plan.name for plan in await gate.store.accounts.plans()} == {PLAN.name, "silver"}


async def test_policy_is_closed_to_callers_who_are_not_administrators(gate: Gateway) -> None:
    for method, path in (("GET", ""), ("PUT", ""), ("GET", "/versions"), ("GET", "/diff?from=0"), ("POST", "/rollback")):
        body: dict[str, Any] = {"policy": {}} if method == "PUT" else {"version": 0}
        answer = await gate.client.request(
            method, f"/api/policy{path}", headers=gate.ours.headers("owner"), json=body if method != "GET" else None
        )
        assert answer.status_code == 403, path
