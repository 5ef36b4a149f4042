"""Tasks over the API without a runner: what is taken, what is refused, what is found."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.flow.edge.control_api import Gateway

TASKS = "/api/tasks"


async def post(gate: Gateway, path: str, body: Any, role: str = "owner") -> httpx.Response:
    return await gate.client.post(path, headers=gate.ours.headers(role), json=body)


async def get(gate: Gateway, path: str, **params: Any) -> Any:
    answer = await gate.client.get(path, headers=gate.ours.headers("owner"), params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({}, 422, "validation_error", "name"),
        ({"name": "f", "priority": 11}, 422, "validation_error", "priority"),
        ({"name": "f", "queue": "no spaces please"}, 422, "validation_error", "queue"),
        ({"name": "f", "colour": "red"}, 422, "validation_error", "colour"),
        ({"name": "f", "kind": "magic"}, 422, "validation_error", "kind"),
        ({"name": "f", "kind": "report"}, 422, "validation_error", "kind"),
        ({"name": "f", "payload": "x" * 2_000_000}, 413, "payload_too_large", "payload"),
        ({"name": "f", "parents": ["nobody"]}, 422, "unknown_parent", "tasks.0.parents"),
        ({"name": "f", "parents": ["task_0000000000000001"]}, 404, "not_found", "parents"),
        (
            {"tasks": [{"name": "f", "ref": "a", "parents": ["b"]}, {"name": "f", "ref": "b", "parents": ["a"]}]},
            422,
            "dependency_cycle",
            "tasks",
        ),
        ({"tasks": [{"name": "f", "ref": "a"}, {"name": "f", "ref": "a"}]}, 422, "duplicate_ref", "tasks.1.ref"),
        ({"tasks": [{"name": "f"}, {"name": "f", "payload": {"$result": "a"}}]}, 422, "unknown_result", "tasks.1.payload"),
        ({"tasks": []}, 422, "validation_error", "tasks"),
        ({"tasks": [{"name": "f"}], "name": "g"}, 422, "validation_error", "tasks"),
        ({"tasks": [{"name": "f"}] * 10_001}, 422, "validation_error", "tasks"),
    ],
)
async def test_invalid_submission_is_refused(gate: Gateway, body: Any, status: int, code: str, param: str | None) -> None:
    answer = await post(gate, TASKS, body)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem.get("param")) == (status, code, param)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await get(gate, TASKS, total=True))["total"] == 0, "all or nothing"


async def test_cycle_of_tasks_is_named_in_the_refusal(gate: Gateway) -> None:
    body = {"tasks": [{"name": "f", "ref": name, "parents": [parent]} for name, parent in (("a", "b"), ("b", "c"), ("c", "a"))]}
    assert "a -> b -> c -> a" in (await post(gate, TASKS, body)).json()["detail"]


async def test_ten_thousand_tasks_are_submitted_in_one_call(gate: Gateway) -> None:
    answer = await post(gate, TASKS, {"tasks": [{"name": "f", "payload": number} for number in range(10_000)]})
    assert answer.status_code == 201
    assert len({each["id"] for each in answer.json()["data"]}) == 10_000
    queues = {queue["name"]: queue["ready"] for queue in (await get(gate, "/api/queues"))["data"]}
    assert queues == {"high": 0, "medium": 10_000, "low": 0}


async def test_the_same_idempotency_key_ten_times_at_once(gate: Gateway) -> None:
    body = {"name": "f", "payload": 1, "idempotency_key": "order-1"}
    answers = await asyncio.gather(*(post(gate, TASKS, body) for _ in range(10)))
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.json()["created"] for answer in answers) == [False] * 9 + [True]
    other = await post(gate, TASKS, body | {"payload": 2})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


async def test_repeated_submission_in_another_order_of_fields_is_the_same(gate: Gateway) -> None:
    one = await post(gate, TASKS, {"name": "f", "payload": {"a": 1, "b": 2}, "idempotency_key": "k"})
    same = await post(gate, TASKS, {"idempotency_key": "k", "payload": {"b": 2, "a": 1}, "name": "f"})
    assert (same.status_code, same.json()["id"], same.json()["created"]) == (201, one.json()["id"], False)


@pytest.mark.parametrize("field", [{"timeout_seconds": 5.0}, {"tags": ["x"]}, {"keep_seconds": 1.0}])
async def test_repeated_submission_with_other_options_is_refused(gate: Gateway, field: dict[str, Any]) -> None:
    body = {"name": "f", "idempotency_key": "k"}
    await post(gate, TASKS, body)
    other = await post(gate, TASKS, body | field)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (TASKS, '{"name": "f", "payload": {"loss": [NUMBER]}}'),
        (TASKS, '{"tasks": [{"name": "f", "payload": NUMBER}]}'),
        ("/api/schedules", '{"name": "s", "cron": "@daily", "task": {"name": "f", "payload": {"x": NUMBER}}}'),
    ],
)
async def test_number_that_json_does_not_have_is_refused(gate: Gateway, number: str, path: str, body: str) -> None:
    headers = gate.ours.headers("owner") | {"content-type": "application/json"}
    answer = await gate.client.post(path, headers=headers, content=body.replace("NUMBER", number))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")
    assert "NaN" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body", ['{"name": "f", "payload": {"x": "\\ud800"}}', '{"tasks": [{"name": "f", "payload": {"\\udc00": 1}}]}'], ids=["value", "name"]
)
async def test_half_of_a_surrogate_pair_in_a_payload_is_refused(gate: Gateway, body: str) -> None:
    headers = gate.ours.headers("owner") | {"content-type": "application/json"}
    answer = await gate.client.post(TASKS, headers=headers, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")
    assert "surrogate" in answer.json()["detail"]


async def test_task_with_a_unique_key_is_made_once_until_it_ends(gate: Gateway) -> None:
    body = {"name": "sync", "unique_key": "sync-7", "concurrency_key": "api", "max_running_per_key": 2}
    first = (await post(gate, TASKS, body)).json()
    again = (await post(gate, TASKS, body)).json()
    assert (again["id"], again["created"]) == (first["id"], False)
    shown = await get(gate, f"{TASKS}/{first['id']}")
    assert (shown["unique_key"], shown["concurrency_key"], shown["max_running_per_key"]) == ("sync-7", "api", 2)
    await post(gate, f"{TASKS}/{first['id']}/cancel", None)
    second = (await post(gate, TASKS, body)).json()
    assert second["created"]
    refused = await post(gate, f"{TASKS}/{first['id']}/retry", None)
    assert (refused.status_code, "unique key 'sync-7'" in refused.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_running_per_key": 2}, "max_running_per_key"),
        ({"concurrency_key": "k", "max_running_per_key": 0}, "max_running_per_key"),
        ({"concurrency_key": "k", "max_running_per_key": 1_001}, "max_running_per_key"),
        ({"concurrency_key": ""}, "concurrency_key"),
        ({"unique_key": "x" * 201}, "unique_key"),
        ({"unique_key": "a\x00b"}, "unique_key"),
    ],
)
async def test_key_that_cannot_be_is_refused(gate: Gateway, fields: dict[str, Any], param: str) -> None:
    answer = await post(gate, TASKS, {"name": "f", **fields})
    assert (answer.status_code, answer.json()["param"]) == (422, param)


async def test_function_that_no_runner_offers_says_so(gate: Gateway) -> None:
    answer = (await post(gate, TASKS, {"name": "word_count"})).json()
    sentence = "No runner offers the function 'word_count'; the task waits until one does (none offers a function)."
    assert answer["warnings"] == [sentence]
    assert (await get(gate, f"{TASKS}/{answer['id']}"))["note"] == sentence
    webhook = (await post(gate, TASKS, {"kind": "webhook", "payload": {"url": "https://198.51.100.1"}})).json()
    assert webhook["warnings"] == []
    assert (await get(gate, f"{TASKS}/{webhook['id']}"))["note"] is None


async def test_a_key_that_may_only_infer_submits_inferences(gate: Gateway) -> None:
    payload = {"url": "/v1/embeddings", "body": {}}
    assert (await post(gate, TASKS, {"kind": "inference", "payload": payload}, "inference")).status_code == 201
    assert (await post(gate, TASKS, {"name": "f"}, "inference")).status_code == 403
    assert (await post(gate, TASKS, {"kind": "webhook", "payload": {"url": "https://198.51.100.1"}}, "inference")).status_code == 403


async def test_tasks_are_filtered_paged_and_searched(gate: Gateway) -> None:
    tasks = [
        {"name": f"n{n % 2}", "priority": n % 3 + 1, "tags": [f"t{n % 5}"], "payload": {"text": f"number {n} plums"}} for n in range(10)
    ]
    ids = [each["id"] for each in (await post(gate, TASKS, {"tasks": tasks})).json()["data"]]
    pages, after = [], None
    while True:
        page = await get(gate, TASKS, limit=4, order="asc", **({"after": after} if after else {}))
        pages.append([task["id"] for task in page["data"]])
        after = page["after"]
        if after is None:
            break
    assert [len(page) for page in pages] == [4, 4, 2]
    assert [task for page in pages for task in page] == ids
    assert len((await get(gate, TASKS, name="n1", tag="t1"))["data"]) == 1
    assert len((await get(gate, TASKS, priority_from=2, priority_to=2))["data"]) == 3
    assert [task["id"] for task in (await get(gate, TASKS, q='"number 7"'))["data"]] == [ids[7]]
    assert (await get(gate, TASKS, q="plums -7", total=True))["total"] == 9
    assert (await get(gate, TASKS, q="pears"))["data"] == []
    bad = await gate.client.get(TASKS, headers=gate.ours.headers("owner"), params={"after": "nonsense"})
    assert (bad.status_code, bad.json()["param"]) == (400, "after")


async def test_results_of_many_tasks_are_answered_together(gate: Gateway) -> None:
    ids = [each["id"] for each in (await post(gate, TASKS, {"tasks": [{"name": "f"}] * 70})).json()["data"]]
    over = ids[10:60]
    await post(gate, f"{TASKS}/actions", {"action": "cancel", "filter": {"ids": over}, "dry_run": False})
    answer = (await post(gate, f"{TASKS}/results", {"ids": [*reversed(ids), *ids, "task_0000000000000001", "nonsense"]})).json()
    assert ({each["id"] for each in answer["data"]}, answer["left"]) == (set(over), [])
    assert len(answer["data"]) == 50
    assert answer["data"][0]["error"]["code"] == "cancelled"
    assert {each["status"] for each in answer["data"]} == {"cancelled"}
    bodies: list[dict[str, list[str]]] = [{"ids": []}, {"ids": ids * 15}, {}]
    for bad in bodies:
        assert (await post(gate, f"{TASKS}/results", bad)).status_code == 422


async def test_action_is_a_dry_run_unless_told_otherwise(gate: Gateway) -> None:
    await post(gate, TASKS, {"tasks": [{"name": "f", "queue": queue} for queue in ["low"] * 3 + ["high"] * 2]})
    action = {"action": "cancel", "filter": {"queue": "low"}}
    dry = (await post(gate, f"{TASKS}/actions", action)).json()
    assert (dry["matched"], dry["done"], dry["dry_run"]) == (3, 0, True)
    assert (await get(gate, TASKS, status="cancelled", total=True))["total"] == 0
    done = (await post(gate, f"{TASKS}/actions", action | {"dry_run": False})).json()
    assert (done["matched"], done["done"]) == (3, 3)
    urgent = {"action": "reprioritise", "priority": 10, "filter": {"name": "f"}, "dry_run": False}
    assert (await post(gate, f"{TASKS}/actions", urgent)).json()["done"] == 2
    assert {task["priority"] for task in (await get(gate, TASKS, queue="high"))["data"]} == {10}
    again = {"action": "retry", "filter": {"status": ["cancelled", "succeeded"]}, "dry_run": False}
    assert (await post(gate, f"{TASKS}/actions", again)).json()["done"] == 3
    gone = {"action": "delete", "filter": {"queue": "low"}, "dry_run": False}
    assert (await post(gate, f"{TASKS}/actions", gone)).json() == {"action": "delete", "dry_run": False, "matched": 0, "done": 0}
    assert (await post(gate, f"{TASKS}/actions", action | {"priority": 3})).status_code == 422


async def test_a_queue_is_paused_limited_and_opened(gate: Gateway) -> None:
    async def change(**changes: Any) -> dict[str, Any]:
        answer = await gate.client.patch("/api/queues/bulk", headers=gate.ours.headers("owner"), json=changes)
        shown: dict[str, Any] = answer.json()
        return {name: shown[name] for name in ("paused", "max_running", "rate_per_second")}

    assert await change(max_running=3, rate_per_second=2.5) == {"paused": False, "max_running": 3, "rate_per_second": 2.5}
    assert (await post(gate, "/api/queues/bulk/pause", None)).json()["paused"] is True
    assert await change(max_running=None) == {"paused": True, "max_running": None, "rate_per_second": 2.5}
    assert (await post(gate, "/api/queues/bulk/resume", None)).json()["paused"] is False


async def test_schedule_is_created_changed_and_removed(gate: Gateway) -> None:
    body = {"name": "nightly", "cron": "30 3 * * *", "time_zone": "Europe/Berlin", "task": {"name": "tidy", "payload": {"deep": True}}}
    made = (await post(gate, "/api/schedules", body)).json()
    assert (made["missed"], made["paused"], made["task"]["payload"]) == ("one", False, {"deep": True})
    assert made["next_at"] > gate.services.tasks.store.now()
    assert (await post(gate, "/api/schedules", body)).status_code == 409
    path = f"/api/schedules/{made['id']}"
    paused = (await gate.client.patch(path, headers=gate.ours.headers("owner"), json={"paused": True})).json()
    assert (paused["paused"], paused["next_at"]) == (True, None)
    assert [each["name"] for each in (await get(gate, "/api/schedules"))["data"]] == ["nightly"]
    assert (await gate.client.delete(path, headers=gate.ours.headers("owner"))).status_code == 204
    assert (await get(gate, "/api/schedules"))["data"] == []


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": "every day"}, "cron"),
        ({"time_zone": "Europe/Atlantis"}, "time_zone"),
        ({"task": {"name": ""}}, "name"),
        ({"task": {"name": "f", "parents": ["a"]}}, "tasks.0.parents"),
    ],
)
async def test_invalid_schedule_is_refused(gate: Gateway, changes: dict[str, Any], param: str) -> None:
    body = {"name": "nightly", "cron": "@daily", "task": {"name": "tidy"}, **changes}
    answer = await post(gate, "/api/schedules", body)
    assert (answer.status_code, answer.json()["param"]) == (422, param)


async def test_a_due_schedule_fires_once_with_several_leaders(gate: Gateway) -> None:
    """Two sweepers on one store, at the same moment, again and again."""
    store, sweeper = gate.services.tasks.store, gate.services.tasks.sweeper
    body = {"name": "often", "cron": "* * * * *", "missed": "all", "task": {"name": "tick"}}
    made = (await post(gate, "/api/schedules", body)).json()
    due = await store.schedule(gate.ours.org_id, made["id"])
    assert due is not None
    await store.save_schedule(replace(due, next_at=due.next_at - 300))  # type: ignore[operator]  # it is not paused
    await asyncio.gather(*(sweeper.promote() for _ in range(5)))
    ticks = (await get(gate, TASKS, name="tick"))["data"]
    assert len(ticks) == 5
    assert len({tick["idempotency_key"] for tick in ticks}) == 5


async def bounded(gate: Gateway, **bounds: int) -> None:
    """Our plan allows so much from now on."""
    accounts = gate.services.store.accounts
    organisation = await accounts.organisation(gate.ours.org_id)
    assert organisation is not None
    (plan,) = [each for each in await accounts.plans() if each.name == organisation.plan]
    changed = replace(plan, tasks=bounds.get("tasks", plan.tasks), schedules=bounds.get("schedules", plan.schedules))
    await accounts.save_plan(changed)


async def test_tasks_beyond_the_plan_are_refused_until_some_are_deleted(gate: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.durable.tasks.quota._RECOUNT_SECONDS", -1.0)
    await bounded(gate, tasks=5)
    first = (await post(gate, TASKS, {"tasks": [{"name": "f"}] * 4})).json()
    refused = await post(gate, TASKS, {"tasks": [{"name": "f"}] * 2})
    assert (refused.status_code, refused.json()["code"]) == (429, "insufficient_quota")
    assert "allows 5 tasks" in refused.json()["detail"]
    assert (await get(gate, TASKS, total=True))["total"] == 4, "all or nothing"
    assert (await post(gate, TASKS, {"name": "f"})).status_code == 201
    one = first["data"][0]["id"]
    assert (await post(gate, f"{TASKS}/{one}/clone", None)).status_code == 429
    await post(gate, f"{TASKS}/{one}/cancel", None)
    await gate.services.tasks.store.delete(gate.ours.org_id, [one])
    assert (await post(gate, TASKS, {"name": "f"})).status_code == 201


async def test_schedules_beyond_the_plan_are_refused(gate: Gateway) -> None:
    await bounded(gate, schedules=1)
    body = {"name": "nightly", "cron": "30 3 * * *", "task": {"name": "tidy"}}
    made = (await post(gate, "/api/schedules", body)).json()
    refused = await post(gate, "/api/schedules", body | {"name": "another"})
    assert (refused.status_code, refused.json()["code"]) == (429, "insufficient_quota")
    await gate.client.delete(f"/api/schedules/{made['id']}", headers=gate.ours.headers("owner"))
    assert (await post(gate, "/api/schedules", body | {"name": "another"})).status_code == 201


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_attempts": 101}, "max_attempts"),
        ({"backoff_seconds": 0}, "backoff_seconds"),
        ({"backoff_cap_seconds": 0.5}, "backoff_cap_seconds"),
    ],
)
async def test_webhook_that_would_be_sent_too_often_is_refused(gate: Gateway, fields: dict[str, float], param: str) -> None:
    body = {"kind": "webhook", "payload": {"url": "https://example.com/"}, **fields}
    answer = await post(gate, TASKS, body)
    assert (answer.status_code, answer.json()["param"]) == (422, param)
    accepted = {"max_attempts": 100, "backoff_seconds": 1, "backoff_cap_seconds": 1}
    assert (await post(gate, TASKS, body | accepted)).status_code == 201
    assert (await post(gate, TASKS, {"name": "f", "max_attempts": 1000, "backoff_seconds": 0})).status_code == 201, (
        "a function is their own"
    )
