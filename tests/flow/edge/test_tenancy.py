"""The wall between organisations, from the route table: route x role x foreign id; and what each scope opens."""

from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from penstock.domain.durable.leases import RunnerRecord
from penstock.domain.models import ModelRecord, Price
from penstock.domain.workers import ModelOffer, WorkerKind, WorkerRecord
from tests.flow.edge.control_api import ROLES, Gateway, usage_record
from tests.flow.edge.routes import GUARDED, NOWHERE, Route
from tests.support.explanations import FULL

FOREIGN_TEXT = "canary-of-the-other-organisation"

# Which roles may call a route at all; everybody else gets 403. A route that is missing here fails the test.
EVERYBODY = frozenset(ROLES)
INFERENCE = frozenset({"inference", "owner", "admin"})
TASKS = frozenset({"owner", "admin"})
ADMIN = frozenset({"admin"})
NAMED_BY_THE_CALLER = ("/api/queues/{queue}", "/api/policy")
"""A queue is a name inside the caller's organisation: everybody has one of that name. The policy's versions are the platform's."""
ALLOWED: dict[str, frozenset[str]] = {
    "get /api/me": EVERYBODY,
    "get /api/status": EVERYBODY,
    "get /api/plans": EVERYBODY,
    "get /api/orgs": EVERYBODY,
    "post /api/orgs": frozenset({"admin"}),
    "get /api/orgs/{org_id}": EVERYBODY,
    "patch /api/orgs/{org_id}": frozenset({"admin"}),
    "get /api/keys": EVERYBODY,
    "post /api/keys": frozenset({"keys", "owner", "admin"}),
    "get /api/keys/{key_id}": EVERYBODY,
    "delete /api/keys/{key_id}": frozenset({"keys", "owner", "admin"}),
    "patch /api/keys/{key_id}": frozenset({"keys", "owner", "admin"}),
    "post /api/keys/{key_id}/rotate": frozenset({"keys", "owner", "admin"}),
    "get /api/join-tokens": frozenset({"workers", "owner", "admin"}),
    "post /api/join-tokens": frozenset({"workers", "owner", "admin"}),
    "delete /api/join-tokens/{token_id}": frozenset({"workers", "owner", "admin"}),
    "get /api/models": EVERYBODY,
    "put /api/models/{model_id}": frozenset({"admin"}),
    "delete /api/models/{model_id}": frozenset({"admin"}),
    "get /api/policy": ADMIN,
    "put /api/policy": ADMIN,
    "post /api/policy/rollback": ADMIN,
    "get /api/policy/versions": ADMIN,
    "get /api/policy/versions/{version}": ADMIN,
    "get /api/policy/diff": ADMIN,
    "get /api/workers": frozenset({"workers", "owner", "admin"}),
    "post /api/workers": frozenset({"admin"}),
    "get /api/workers/{worker_id}": frozenset({"workers", "owner", "admin"}),
    "patch /api/workers/{worker_id}": frozenset({"admin"}),
    "get /api/workers/{worker_id}/logs": frozenset({"workers", "owner", "admin"}),
    "delete /api/workers/{worker_id}": frozenset({"workers", "owner", "admin"}),
    "post /api/workers/{worker_id}/drain": frozenset({"workers", "owner", "admin"}),
    "post /api/workers/{worker_id}/resume": frozenset({"workers", "owner", "admin"}),
    "get /api/usage": frozenset({"usage", "owner", "admin"}),
    "get /api/usage/records": frozenset({"usage", "owner", "admin"}),
    "get /api/usage/records/{request_id}": frozenset({"usage", "owner", "admin"}),
    "get /api/decisions": EVERYBODY,
    "get /api/decisions/{decision_id}": EVERYBODY,
    "get /api/tasks": INFERENCE,
    "post /api/tasks": INFERENCE,
    "post /api/tasks/actions": TASKS,
    "post /api/tasks/results": INFERENCE,
    "get /api/tasks/{task_id}": INFERENCE,
    "delete /api/tasks/{task_id}": TASKS,
    "get /api/tasks/{task_id}/events": INFERENCE,
    "get /api/tasks/{task_id}/logs": INFERENCE,
    "post /api/tasks/{task_id}/cancel": INFERENCE,
    "post /api/tasks/{task_id}/retry": INFERENCE,
    "post /api/tasks/{task_id}/clone": INFERENCE,
    "get /api/dags/{dag_id}": INFERENCE,
    "get /api/webhook-secret": TASKS,
    "get /api/queues": TASKS,
    "patch /api/queues/{queue}": TASKS,
    "post /api/queues/{queue}/pause": TASKS,
    "post /api/queues/{queue}/resume": TASKS,
    "get /api/schedules": TASKS,
    "post /api/schedules": TASKS,
    "get /api/schedules/{schedule_id}": TASKS,
    "patch /api/schedules/{schedule_id}": TASKS,
    "delete /api/schedules/{schedule_id}": TASKS,
    "get /api/runners": frozenset({"workers", "owner", "admin"}),
    "delete /api/runners/{runner_id}": frozenset({"workers", "owner", "admin"}),
    "post /api/runners/{runner_id}/drain": frozenset({"workers", "owner", "admin"}),
    "post /api/runners/{runner_id}/resume": frozenset({"workers", "owner", "admin"}),
    "get /v1/files": INFERENCE,
    "post /v1/files": INFERENCE,
    "get /v1/files/{file_id}": INFERENCE,
    "delete /v1/files/{file_id}": INFERENCE,
    "get /v1/files/{file_id}/content": INFERENCE,
    "get /v1/batches": INFERENCE,
    "post /v1/batches": INFERENCE,
    "get /v1/batches/{batch_id}": INFERENCE,
    "post /v1/batches/{batch_id}/cancel": INFERENCE,
    "post /v1/responses": INFERENCE,
    "get /v1/responses/{response_id}": INFERENCE,
    "delete /v1/responses/{response_id}": INFERENCE,
    "post /v1/responses/{response_id}/cancel": INFERENCE,
    "get /v1/responses/{response_id}/input_items": INFERENCE,
    "get /v1/models": EVERYBODY,
    "get /v1/models/{model}": EVERYBODY,
}


@dataclass
class Foreign:
    """One of everything, of the other organisation, by the parameter that names it."""

    by_parameter: dict[str, str]
    secrets: list[str]


async def foreign(gate: Gateway) -> Foreign:
    theirs = gate.theirs
    key = await gate.client.post("/api/keys", headers=theirs.headers("owner"), json={"name": FOREIGN_TEXT})
    token = await gate.client.post("/api/join-tokens", headers=theirs.headers("owner"), json={})
    worker = WorkerRecord(
        "wrk_foreign", FOREIGN_TEXT, WorkerKind.WORKER, "sim", "http://127.0.0.1:9", (ModelOffer(FOREIGN_TEXT),), 1, org_id=theirs.org_id
    )
    await gate.store.workers.save(worker)
    gate.fleet.worker_joined(worker)
    asked = {"model": FOREIGN_TEXT, "input": FOREIGN_TEXT, "background": True}
    answer = await gate.client.post("/v1/responses", headers=theirs.headers("owner"), json=asked)
    file = await gate.client.post(
        "/v1/files", headers=theirs.headers("owner"), data={"purpose": "batch"}, files={"file": (FOREIGN_TEXT, b"{}")}
    )
    wanted = {"input_file_id": file.json()["id"], "endpoint": "/v1/embeddings", "completion_window": "24h", "metadata": {"x": FOREIGN_TEXT}}
    batch = await gate.client.post("/v1/batches", headers=theirs.headers("owner"), json=wanted)
    await gate.store.ledger.append(
        "foreign", [usage_record(request_id="req_foreign", org_id=theirs.org_id, key_id=key.json()["id"], model=FOREIGN_TEXT)]
    )
    await gate.store.decisions.save([replace(FULL, id="req_foreign", org_id=theirs.org_id, model=FOREIGN_TEXT)])
    work = {"tasks": [{"name": FOREIGN_TEXT, "ref": "first"}, {"name": FOREIGN_TEXT, "parents": ["first"], "queue": FOREIGN_TEXT}]}
    task = await gate.client.post("/api/tasks", headers=theirs.headers("owner"), json=work)
    calendar = {"name": FOREIGN_TEXT, "cron": "@daily", "task": {"name": FOREIGN_TEXT}}
    schedule = await gate.client.post("/api/schedules", headers=theirs.headers("owner"), json=calendar)
    await gate.store.tasks.register(RunnerRecord("run_foreign", FOREIGN_TEXT, theirs.org_id, (), 1, identity=b"f" * 32))
    identifiers = {
        "org_id": theirs.org_id,
        "task_id": task.json()["id"],
        "dag_id": task.json()["id"],
        "queue": FOREIGN_TEXT,
        "schedule_id": schedule.json()["id"],
        "runner_id": "run_foreign",
        "key_id": key.json()["id"],
        "token_id": token.json()["id"],
        "worker_id": worker.id,
        "request_id": "req_foreign",
        "decision_id": "req_foreign",
        "batch_id": batch.json()["id"],
        "response_id": answer.json()["id"],
        "file_id": file.json()["id"],
        "version": "0",  # of the policy, which is everybody's
        "model": FOREIGN_TEXT,
        "model_id": FOREIGN_TEXT,
    }
    return Foreign(identifiers, [FOREIGN_TEXT, theirs.org_id, key.json()["id"], token.json()["id"], "req_foreign", "wrk_foreign"])


def body_for(route: Route, role: str, gate: Gateway) -> dict[str, Any] | None:
    if str(route) == "post /api/keys":
        return {"name": "new", "scopes": sorted(ROLES[role])}
    return route.body


def test_table_of_roles_names_every_route() -> None:
    assert {str(route) for route in GUARDED} == ALLOWED.keys()


@pytest.mark.parametrize("role", sorted(ROLES))
async def test_each_role_may_call_exactly_its_routes(gate: Gateway, role: str) -> None:
    """On things that do not exist: 403 for those who may not, anything but 403 for the others."""
    for route in GUARDED:
        answer = await gate.client.request(route.method, route.url(), headers=gate.ours.headers(role), json=body_for(route, role, gate))
        assert (answer.status_code == 403) == (role not in ALLOWED[str(route)]), f"{route} as {role}: {answer.text}"


@pytest.mark.parametrize("role", sorted(ROLES.keys() - {"admin"}))
async def test_foreign_id_is_answered_like_an_unknown_one(gate: Gateway, role: str) -> None:
    """The same answer as for an id that nobody has, so that not even existence leaks."""
    other = await foreign(gate)
    for route in GUARDED:
        for parameter in () if route.path.startswith(NAMED_BY_THE_CALLER) else route.parameters:
            headers, body = gate.ours.headers(role), body_for(route, role, gate)
            theirs = await gate.client.request(route.method, route.url(other.by_parameter[parameter]), headers=headers, json=body)
            nobodys = await gate.client.request(route.method, route.url(NOWHERE), headers=headers, json=body)
            assert theirs.status_code in (403, 404), f"{route} as {role}: {theirs.text}"
            assert theirs.status_code == nobodys.status_code, route
            assert without_ids(theirs.json(), other.by_parameter[parameter]) == without_ids(nobodys.json(), NOWHERE), route


def without_ids(document: dict[str, Any], identifier: str) -> str:
    return str({name: value for name, value in document.items() if name != "request_id"}).replace(identifier, "ID")


@pytest.mark.parametrize("role", sorted(ROLES.keys() - {"admin"}))
async def test_no_list_shows_records_of_another_organisation(gate: Gateway, role: str) -> None:
    other = await foreign(gate)
    for route in GUARDED:
        if route.method == "get" and not route.parameters:
            answer = await gate.client.get(route.path, headers=gate.ours.headers(role))
            assert not [text for text in other.secrets if text in answer.text], f"{route} as {role}"


async def test_a_filter_does_not_open_the_wall(gate: Gateway) -> None:
    other = await foreign(gate)
    headers = gate.ours.headers("owner")
    for path in ("/api/usage", "/api/usage/records", "/api/keys", "/api/decisions"):
        for org in (gate.theirs.org_id, NOWHERE):
            assert (await gate.client.get(path, headers=headers, params={"org": org})).status_code == 404
    for path in ("/api/usage", "/api/usage/records"):
        answer = await gate.client.get(path, headers=headers, params={"key": other.by_parameter["key_id"]})
        assert answer.json()["data"] == []
    paged = await gate.client.get("/api/usage/records", headers=headers, params={"after": "req_foreign"})
    assert paged.json()["data"] == []


async def test_an_admin_sees_every_organisation(gate: Gateway) -> None:
    other = await foreign(gate)
    for route in GUARDED:
        # The worker is not one that could be asked for its log.
        if route.method == "get" and route.parameters and route.path.startswith("/api") and not route.path.endswith("/logs"):
            # Tasks are looked at one organisation at a time; an administrator says which.
            params = {"org": gate.theirs.org_id} if route.parameters[0] in ("task_id", "dag_id", "schedule_id") else {}
            answer = await gate.client.get(route.url(other.by_parameter[route.parameters[0]]), headers=gate.admin, params=params)
            assert answer.status_code == 200, f"{route}: {answer.text}"
    report = await gate.client.get("/api/usage", headers=gate.admin, params={"group_by": "org", "org": gate.theirs.org_id})
    assert [(row["org_id"], row["prompt_tokens"]) for row in report.json()["data"]] == [(gate.theirs.org_id, 7)]


@pytest.mark.parametrize("path", ["/api/keys", "/api/join-tokens"])
async def test_nothing_is_made_in_a_foreign_organisation(gate: Gateway, path: str) -> None:
    for org in (gate.theirs.org_id, NOWHERE):
        answer = await gate.client.post(
            path, headers=gate.ours.headers("owner"), json={"org_id": org, **({"name": "x"} if "keys" in path else {})}
        )
        assert answer.status_code == 404
        assert (await gate.store.accounts.keys(gate.theirs.org_id))[0].name != "x"


@pytest.mark.parametrize("role", ["keys", "owner"])
async def test_key_cannot_create_a_key_with_more_scopes(gate: Gateway, role: str) -> None:
    answer = await gate.client.post("/api/keys", headers=gate.ours.headers(role), json={"name": "x", "scopes": ["admin"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    for sneaky in ({"admin": True}, {"digest": "AA"}, {"id": "key_x"}, {"created_at": 0}):
        answer = await gate.client.post(
            "/api/keys", headers=gate.ours.headers(role), json={"name": "x", "scopes": ["keys:write"], **sneaky}
        )
        assert answer.status_code == 422


async def test_model_catalogue_is_shown_to_every_organisation(gate: Gateway) -> None:
    await gate.store.catalog.save_model(ModelRecord("shared", Price(input_per_million=5)))
    answer = await gate.client.get("/api/models", headers=gate.ours.headers("inference"))
    assert [(model["id"], model["price"]["input_per_million"]) for model in answer.json()["data"]] == [("shared", 5)]
