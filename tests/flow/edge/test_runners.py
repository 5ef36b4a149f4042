"""What runners call: joined with a token, every call signed, leases fenced, organisations apart."""

from typing import Any

import pytest

from tests.flow.edge.control_api import Gateway, SigningWorker

JOIN = "/api/runners/join"
CHAT = {"url": "/v1/chat/completions", "body": {"model": "m", "messages": []}}


async def token(gate: Gateway, role: str = "runner", headers: dict[str, str] | None = None) -> str:
    answer = await gate.client.post("/api/join-tokens", headers=headers or gate.admin, json={"role": role})
    return str(answer.json()["secret"])


def card(runner: SigningWorker, **fields: Any) -> dict[str, Any]:
    return {"public_key": runner.public_key, "name": "r1", "slots": 4, "kinds": ["function:add", "inference"], **fields}


async def joined(gate: Gateway, runner: SigningWorker, **fields: Any) -> str:
    answer = await runner.post(gate.client, JOIN, card(runner, **{"token": await token(gate), **fields}))
    assert answer.status_code == 200, answer.text
    assert answer.json()["heartbeat_seconds"] == 5.0
    return f"/api/runners/{answer.json()['runner_id']}"


async def submit(gate: Gateway, **fields: Any) -> str:
    answer = await gate.client.post("/api/tasks", headers=gate.admin, json={"name": "add", **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_a_task_from_claim_to_finish(gate: Gateway) -> None:
    runner = SigningWorker(gate.clock)
    own = await joined(gate, runner)
    task_id = await submit(gate, payload={"a": 1})
    (lease,) = (await runner.post(gate.client, f"{own}/claim", {"limit": 5})).json()["leases"]
    assert (lease["task_id"], lease["payload"], lease["attempt"], lease["lease_seq"]) == (task_id, '{"a":1}', 1, 1)
    held = [[task_id, 1]]
    beaten = (await runner.post(gate.client, f"{own}/beat", {"held": held})).json()["beat"]
    assert beaten == {"known": True, "draining": False, "cancelled": [], "lost": []}
    report = {"task_id": task_id, "lease_seq": 1, "progress": '{"percent": 7}'}
    assert (await runner.post(gate.client, f"{own}/progress", {"reports": [report]})).status_code == 200
    shown = (await gate.client.get(f"/api/tasks/{task_id}", headers=gate.admin)).json()
    assert (shown["status"], shown["progress"]) == ("running", {"percent": 7})
    finish = {"finishes": [{"task_id": task_id, "lease_seq": 1, "kind": "succeeded", "result": "5"}]}
    assert (await runner.post(gate.client, f"{own}/finish", finish)).json() == {"statuses": ["succeeded"]}
    assert (await runner.post(gate.client, f"{own}/finish", finish)).json() == {"statuses": [None]}, "once"
    assert (await gate.client.get(f"/api/tasks/{task_id}", headers=gate.admin)).json()["result"] == 5


async def test_rests_are_counted_on_the_gateways_clock(gate: Gateway) -> None:
    runner = SigningWorker(gate.clock)
    own = await joined(gate, runner)
    task_id = await submit(gate)
    await runner.post(gate.client, f"{own}/claim", {"limit": 1})
    error = {"code": "raised", "message": "no"}
    finish = {"task_id": task_id, "lease_seq": 1, "kind": "retried", "error": error, "retry_at": 30.0}
    assert (await runner.post(gate.client, f"{own}/finish", {"finishes": [finish]})).json() == {"statuses": ["scheduled"]}
    shown = (await gate.client.get(f"/api/tasks/{task_id}", headers=gate.admin)).json()
    assert 25 < shown["run_at"] - gate.services.tasks.store.now() <= 30


async def test_cancelled_task_ends_a_wait_for_news(gate: Gateway) -> None:
    runner = SigningWorker(gate.clock)
    own = await joined(gate, runner)
    task_id = await submit(gate)
    await runner.post(gate.client, f"{own}/claim", {"limit": 1})
    ticket = (await runner.post(gate.client, f"{own}/beat", {"held": [[task_id, 1]]})).json()["ticket"]
    assert (await runner.post(gate.client, f"{own}/news", {"ticket": ticket})).json() == {"news": False}
    await gate.client.post(f"/api/tasks/{task_id}/cancel", headers=gate.admin)
    assert (await runner.post(gate.client, f"{own}/news", {"ticket": ticket, "wait_seconds": 5})).json() == {"news": True}
    beaten = (await runner.post(gate.client, f"{own}/beat", {"held": [[task_id, 1]]})).json()["beat"]
    assert beaten["cancelled"] == [[task_id, 1]]


async def test_a_runner_of_an_organisation_gets_its_tasks_alone(gate: Gateway) -> None:
    runner = SigningWorker(gate.clock)
    own = await joined(gate, runner, token=await token(gate, headers=gate.theirs.headers("owner")))
    await submit(gate)
    assert (await runner.post(gate.client, f"{own}/claim", {"limit": 5})).json()["leases"] == []
    body = {"name": "add", "payload": 5}
    theirs = (await gate.client.post("/api/tasks", headers=gate.theirs.headers("owner"), json=body)).json()["id"]
    (lease,) = (await runner.post(gate.client, f"{own}/claim", {"limit": 5})).json()["leases"]
    assert (lease["task_id"], lease["org_id"]) == (theirs, gate.theirs.org_id)


async def test_a_grant_is_good_for_its_runner_alone(gate: Gateway) -> None:
    runner, other = SigningWorker(gate.clock), SigningWorker(gate.clock)
    own, others = await joined(gate, runner), await joined(gate, other)
    task_id = await submit(gate, name="", kind="inference", payload=CHAT)
    claimed = (await runner.post(gate.client, f"{own}/claim", {"limit": 1})).json()
    ask = {"grant": claimed["grants"][task_id], "url": "/v1/nothing", "body": "{}"}
    mine = await runner.post(gate.client, f"{own}/call", ask)
    assert (mine.status_code, mine.json()["status"]) == (200, 400)
    assert (await other.post(gate.client, f"{others}/call", ask)).status_code == 403
    for grant in ("", "AAAA", "ä", claimed["grants"][task_id][:-4] + "AAAA"):
        assert (await runner.post(gate.client, f"{own}/call", {**ask, "grant": grant})).status_code == 403, grant
    gate.clock.advance(25 * 3600)
    assert (await runner.post(gate.client, f"{own}/call", ask)).status_code in (403, 404)


async def test_call_signed_by_another_runner_is_401(gate: Gateway) -> None:
    runner, stranger = SigningWorker(gate.clock), SigningWorker(gate.clock)
    own = await joined(gate, runner)
    for what, body in (("claim", {"limit": 1}), ("beat", {}), ("finish", {"finishes": []}), ("leave", {})):
        assert (await stranger.post(gate.client, f"{own}/{what}", body)).status_code == 401, what
        assert (await gate.client.post(f"{own}/{what}", headers=gate.admin, json=body)).status_code == 401, what
        assert (await stranger.post(gate.client, f"/api/runners/run_nobody/{what}", body)).status_code == 404, what


@pytest.mark.parametrize(("role", "status"), [("worker", 403), ("runner", 200)])
async def test_join_token_is_accepted_only_for_its_role(gate: Gateway, role: str, status: int) -> None:
    runner = SigningWorker(gate.clock)
    answer = await runner.post(gate.client, JOIN, card(runner, token=await token(gate, role)))
    assert answer.status_code == status


async def test_a_known_key_comes_back_without_a_token_as_a_new_runner(gate: Gateway) -> None:
    runner = SigningWorker(gate.clock)
    first = await joined(gate, runner)
    again = await runner.post(gate.client, JOIN, card(runner))
    assert again.status_code == 200
    assert not first.endswith(again.json()["runner_id"])
    stranger = SigningWorker(gate.clock)
    assert (await stranger.post(gate.client, JOIN, card(stranger))).status_code == 401
    assert (await stranger.post(gate.client, JOIN, card(stranger, token="pjt-nothing"))).status_code == 401


@pytest.mark.parametrize(
    ("what", "body", "param"),
    [
        ("claim", {"limit": 0}, "limit"),
        ("claim", {"limit": 1, "wait_seconds": 1e9}, "wait_seconds"),
        ("claim", {"limit": 1, "more": 1}, None),
        ("beat", {"held": [["task"]]}, "held[0]"),
        ("finish", {"finishes": [{"task_id": "t", "lease_seq": 1, "kind": "exploded"}]}, "finishes[0].kind"),
        ("finish", {}, None),
    ],
)
async def test_malformed_runner_call_names_the_wrong_field(gate: Gateway, what: str, body: dict[str, Any], param: str | None) -> None:
    runner = SigningWorker(gate.clock)
    answer = await runner.post(gate.client, f"{await joined(gate, runner)}/{what}", body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json().get("param") == param


async def test_an_operator_sees_drains_and_resumes(gate: Gateway) -> None:
    runner = SigningWorker(gate.clock)
    own = await joined(gate, runner)
    (shown,) = (await gate.client.get("/api/runners", headers=gate.admin)).json()["data"]
    assert (shown["name"], shown["state"], shown["kinds"]) == ("r1", "ready", ["function:add", "inference"])
    await submit(gate)
    assert (await gate.client.post(f"{own}/drain", headers=gate.admin)).status_code == 204
    assert (await runner.post(gate.client, f"{own}/claim", {"limit": 1})).json()["leases"] == []
    assert (await runner.post(gate.client, f"{own}/beat", {})).json()["beat"]["draining"] is True
    assert (await gate.client.post(f"{own}/resume", headers=gate.admin)).status_code == 204
    assert len((await runner.post(gate.client, f"{own}/claim", {"limit": 1})).json()["leases"]) == 1
    assert (await runner.post(gate.client, f"{own}/leave", {})).status_code == 200
    assert (await gate.client.get("/api/runners", headers=gate.admin)).json()["data"] == []
