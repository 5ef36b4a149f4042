"""What runners call: joined with a token, every call signed, leases fenced, organisations apart."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tests.flow.edge.control_api import Gateway, SigningWorker

JOIN = "/api/runners/join"
CHAT: dict[str, Any] = {"url": "/v1/chat/completions", "body": {"model": "m", "messages": []}}
"""Refused before there is any inference, which this gateway has not."""


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


@pytest.mark.parametrize("control", ["\x00", "\n", "\x1b[2J", "\x7f", "\x9b"], ids=["nul", "line feed", "escape", "delete", "c1"])
async def test_join_with_control_characters_is_refused(gate: Gateway, control: str) -> None:
    secret = await token(gate)
    for field in ("name", "version", "queues", "kinds"):
        text = f"a{control}"
        runner = SigningWorker(gate.clock)
        wrong: dict[str, Any] = {field: [text] if field in ("queues", "kinds") else text}
        answer = await runner.post(gate.client, JOIN, card(runner, **{"token": secret, **wrong}))
        assert answer.status_code == 422, (field, answer.text)
    assert (await gate.client.get("/api/runners", headers=gate.admin)).json()["data"] == []


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


async def claimed_inference(gate: Gateway, runner: SigningWorker, own: str) -> tuple[str, dict[str, Any]]:
    """The id of a task, and the call that its grant allows."""
    task_id = await submit(gate, name="", kind="inference", payload=CHAT)
    claimed = (await runner.post(gate.client, f"{own}/claim", {"limit": 1})).json()
    (lease,) = claimed["leases"]
    body = msgspec.json.decode(lease["payload"], type=dict[str, msgspec.Raw])["body"]
    return task_id, {"grant": claimed["grants"][task_id], "url": CHAT["url"], "body": bytes(body).decode()}


async def test_a_grant_is_good_for_its_runner_and_its_call_alone(gate: Gateway) -> None:
    runner, other = SigningWorker(gate.clock), SigningWorker(gate.clock)
    own, others = await joined(gate, runner), await joined(gate, other)
    _, ask = await claimed_inference(gate, runner, own)
    assert (await other.post(gate.client, f"{others}/call", ask)).status_code == 403
    for grant in ("", "AAAA", "ä", ask["grant"][:-4] + "AAAA"):
        assert (await runner.post(gate.client, f"{own}/call", {**ask, "grant": grant})).status_code == 403, grant
    for change in ({"url": "/v1/embeddings"}, {"body": '{"model":"dear"}'}, {"own_class": True}):
        assert (await runner.post(gate.client, f"{own}/call", {**ask, **change})).status_code == 403, change
    mine = await runner.post(gate.client, f"{own}/call", ask)
    assert (mine.status_code, mine.json()["status"]) == (200, 404)
    again = await runner.post(gate.client, f"{own}/call", ask)
    assert (again.status_code, again.json()["detail"]) == (403, "The call of this lease has been made.")


async def test_a_grant_ends_with_its_lease(gate: Gateway) -> None:
    runner = SigningWorker(gate.clock)
    own = await joined(gate, runner)
    task_id, ask = await claimed_inference(gate, runner, own)
    finish = {"task_id": task_id, "lease_seq": 1, "kind": "succeeded", "result": "1"}
    assert (await runner.post(gate.client, f"{own}/finish", {"finishes": [finish]})).json() == {"statuses": ["succeeded"]}
    late = await runner.post(gate.client, f"{own}/call", ask)
    assert (late.status_code, late.json()["detail"]) == (403, "This runner does not hold the task's lease any more.")


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


async def test_an_expelled_runner_needs_a_token_and_gives_back_what_it_held(gate: Gateway) -> None:
    runner, other = SigningWorker(gate.clock), SigningWorker(gate.clock)
    own = await joined(gate, runner)
    second = await runner.post(gate.client, JOIN, card(runner))
    task_id = await submit(gate)
    assert len((await runner.post(gate.client, f"{own}/claim", {"limit": 1})).json()["leases"]) == 1
    assert (await gate.client.delete(own, headers=gate.theirs.headers("owner"))).status_code == 404
    assert (await gate.client.delete(own, headers=gate.admin)).status_code == 204
    for each in (own, f"/api/runners/{second.json()['runner_id']}"):
        assert (await runner.post(gate.client, f"{each}/claim", {"limit": 1})).status_code == 404
    assert (await runner.post(gate.client, JOIN, card(runner))).status_code == 401
    assert (await gate.client.get("/api/runners", headers=gate.admin)).json()["data"] == []
    others = await joined(gate, other)
    (lease,) = (await other.post(gate.client, f"{others}/claim", {"limit": 1})).json()["leases"]
    assert lease["task_id"] == task_id


async def test_a_drained_runner_that_joins_again_stays_drained(gate: Gateway) -> None:
    runner = SigningWorker(gate.clock)
    own = await joined(gate, runner)
    await gate.client.post(f"{own}/drain", headers=gate.admin)
    again = f"/api/runners/{(await runner.post(gate.client, JOIN, card(runner))).json()['runner_id']}"
    await submit(gate)
    assert (await runner.post(gate.client, f"{again}/claim", {"limit": 1})).json()["leases"] == []
    await gate.client.post(f"{again}/resume", headers=gate.admin)
    assert len((await runner.post(gate.client, f"{again}/claim", {"limit": 1})).json()["leases"]) == 1


@pytest.mark.parametrize("expel", [False, True])
async def test_a_revoked_token_expels_what_it_introduced_when_asked_to(gate: Gateway, expel: bool) -> None:
    runner, other = SigningWorker(gate.clock), SigningWorker(gate.clock)
    created = (await gate.client.post("/api/join-tokens", headers=gate.admin, json={"role": "runner"})).json()
    own, others = await joined(gate, runner, token=created["secret"]), await joined(gate, other)
    shown = {each["id"]: each["token_id"] for each in (await gate.client.get("/api/runners", headers=gate.admin)).json()["data"]}
    assert shown[own.rpartition("/")[2]] == created["id"]
    question = "?expel=true" if expel else ""
    assert (await gate.client.delete(f"/api/join-tokens/{created['id']}{question}", headers=gate.admin)).status_code == 204
    assert (await runner.post(gate.client, f"{own}/claim", {"limit": 1})).status_code == (404 if expel else 200)
    assert (await runner.post(gate.client, JOIN, card(runner))).status_code == (401 if expel else 200)
    assert (await other.post(gate.client, f"{others}/claim", {"limit": 1})).status_code == 200


async def test_the_defaults_of_a_function_are_those_of_own_and_platform_runners_alone(gate: Gateway) -> None:
    runner, platform = SigningWorker(gate.clock), SigningWorker(gate.clock)
    hostile = '[{"name":"whoami","queue":"unserved","timeout_seconds":1,"max_attempts":1000,"priority":1}]'
    their_token = await token(gate, headers=gate.theirs.headers("owner"))
    await joined(gate, runner, token=their_token, kinds=["function:whoami"], functions=hostile)
    await joined(gate, platform, kinds=["function:greet"], functions='[{"name":"greet","queue":"gold"}]')

    async def queue_of(name: str, headers: dict[str, str]) -> str:
        created = (await gate.client.post("/api/tasks", headers=headers, json={"name": name})).json()
        return str((await gate.client.get(f"/api/tasks/{created['id']}", headers=headers)).json()["queue"])

    theirs = gate.theirs.headers("owner")
    assert await queue_of("whoami", gate.admin) == "medium"
    assert await queue_of("whoami", theirs) == "unserved"
    assert (await queue_of("greet", gate.admin), await queue_of("greet", theirs)) == ("gold", "gold")


async def test_a_disabled_organisation_introduces_no_runner(gate: Gateway) -> None:
    runner, fresh = SigningWorker(gate.clock), SigningWorker(gate.clock)
    their_token = await token(gate, headers=gate.theirs.headers("owner"))
    await joined(gate, runner, token=their_token)
    await gate.client.patch(f"/api/orgs/{gate.theirs.org_id}", headers=gate.admin, json={"disabled": True})
    assert (await runner.post(gate.client, JOIN, card(runner))).status_code == 403
    assert (await fresh.post(gate.client, JOIN, card(fresh, token=their_token))).status_code == 403


async def test_an_organisation_has_as_many_runners_as_its_plan_allows(gate: Gateway) -> None:
    accounts = gate.services.store.accounts
    organisation = await accounts.organisation(gate.theirs.org_id)
    assert organisation is not None
    (plan,) = [each for each in await accounts.plans() if each.name == organisation.plan]
    await accounts.save_plan(replace(plan, workers=1))
    first, second = SigningWorker(gate.clock), SigningWorker(gate.clock)
    their_token = await token(gate, headers=gate.theirs.headers("owner"))
    await joined(gate, first, token=their_token)
    assert (await first.post(gate.client, JOIN, card(first))).status_code == 200, "it is the same runner"
    refused = await second.post(gate.client, JOIN, card(second, token=their_token))
    assert (refused.status_code, refused.json()["code"]) == (429, "insufficient_quota")
    assert (await second.post(gate.client, JOIN, card(second, token=await token(gate)))).status_code == 200, "the platform's have no bound"
