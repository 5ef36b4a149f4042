"""A worker joins, reports, is drained, leaves and comes back; nobody else can speak for it."""

from ipaddress import ip_address
from typing import Any

import pytest

from penstock.domain.clock import ManualClock
from penstock.domain.workers import WorkerLoad, WorkerState
from penstock.net.reach import Reach
from penstock.serving.admission.addresses import AddressLimiter
from tests.flow.edge.control_api import Gateway, Organised, SigningWorker, gateway

PUBLIC = f"http://{ip_address(0x08080808)}:9000"
"""Nothing is dialled here."""
JOIN = "/api/workers/join"
CONTROLS = ("\x00", "\n", "\x1b[2J", "\x7f", "\x9b")
"""Of C0, DEL and C1: a terminal or a log obeys them."""


async def token(gate: Gateway, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    answer = await gate.client.post("/api/join-tokens", headers=headers or gate.admin, json={"role": "worker", **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def joined(gate: Gateway, worker: SigningWorker, **fields: Any) -> str:
    answer = await worker.post(gate.client, JOIN, worker.body(token=(await token(gate))["secret"], **fields))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["worker_id"])


async def test_a_worker_joins_with_a_token(gate: Gateway) -> None:
    worker = SigningWorker(gate.clock)
    answer = await worker.post(gate.client, JOIN, worker.body(token=(await token(gate))["secret"]))
    assert answer.status_code == 201
    body = answer.json()
    assert body == {"worker_id": body["worker_id"], "heartbeat_seconds": 5.0}
    record = await gate.store.workers.get(body["worker_id"])
    assert record is not None
    assert (record.base_url, record.secret, record.org_id, record.slots) == ("http://127.0.0.1:9000", "w" * 40, None, 8)
    assert gate.fleet.records == {record.id: record}


async def test_known_worker_rejoins_without_a_token_and_keeps_its_id(gate: Gateway) -> None:
    worker = SigningWorker(gate.clock)
    first = await joined(gate, worker)
    again = await worker.post(gate.client, JOIN, worker.body(base_url="http://127.0.0.1:9001", secret="x" * 40))
    assert (again.status_code, again.json()["worker_id"]) == (201, first)
    record = await gate.store.workers.get(first)
    assert record is not None
    assert (record.base_url, record.secret) == ("http://127.0.0.1:9001", "x" * 40)


async def test_an_operators_drain_outlives_the_workers_restart(gate: Gateway) -> None:
    worker = SigningWorker(gate.clock)
    worker_id = await joined(gate, worker)
    assert (await gate.client.post(f"/api/workers/{worker_id}/drain", headers=gate.admin)).json()["draining"] is True
    await worker.post(gate.client, JOIN, worker.body())
    told = await worker.post(gate.client, f"/api/workers/{worker_id}/heartbeat", {})
    assert told.json() == {"draining": True, "unreachable": ""}
    assert (await gate.client.post(f"/api/workers/{worker_id}/resume", headers=gate.admin)).json()["draining"] is False
    assert (await worker.post(gate.client, f"/api/workers/{worker_id}/heartbeat", {})).json() == {"draining": False, "unreachable": ""}


async def test_a_heartbeat_reaches_the_store_and_the_fleet(gate: Gateway) -> None:
    worker = SigningWorker(gate.clock)
    worker_id = await joined(gate, worker)
    gate.clock.advance(5)
    body = {"running": 3, "waiting": 1, "kv_usage": 0.5, "draining": True}
    assert (await worker.post(gate.client, f"/api/workers/{worker_id}/heartbeat", body)).status_code == 200
    record = await gate.store.workers.get(worker_id)
    assert record is not None
    assert (record.load, record.last_seen_at) == (WorkerLoad(3, 1, 0.5), gate.clock.time())
    assert (gate.fleet.live[worker_id].load, gate.fleet.live[worker_id].state) == (WorkerLoad(3, 1, 0.5), WorkerState.DRAINING)
    shown = (await gate.client.get(f"/api/workers/{worker_id}", headers=gate.admin)).json()
    assert (shown["state"], shown["draining"], shown["load"]["running"]) == ("draining", False, 3)


async def test_joined_worker_cannot_be_changed_by_an_administrator(gate: Gateway) -> None:
    worker_id = await joined(gate, SigningWorker(gate.clock))
    answer = await gate.client.patch(f"/api/workers/{worker_id}", headers=gate.admin, json={"slots": 3})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_worker_that_left_keeps_its_identity(gate: Gateway) -> None:
    worker = SigningWorker(gate.clock)
    worker_id = await joined(gate, worker)
    assert (await worker.post(gate.client, f"/api/workers/{worker_id}/leave")).status_code == 204
    assert gate.fleet.records == {}
    assert (await worker.post(gate.client, JOIN, worker.body())).json()["worker_id"] == worker_id


async def test_a_removed_worker_needs_a_token_again(gate: Gateway) -> None:
    worker = SigningWorker(gate.clock)
    worker_id = await joined(gate, worker)
    assert (await gate.client.delete(f"/api/workers/{worker_id}", headers=gate.admin)).status_code == 204
    assert (await worker.post(gate.client, f"/api/workers/{worker_id}/heartbeat", {})).status_code == 404
    assert (await worker.post(gate.client, JOIN, worker.body())).status_code == 401
    assert await joined(gate, worker) != worker_id


async def test_a_token_of_an_organisation_makes_a_worker_of_it_alone(gate: Gateway) -> None:
    made = await token(gate, gate.theirs.headers("workers"))
    worker = SigningWorker(gate.clock)
    answer = await worker.post(gate.client, JOIN, worker.body(token=made["secret"], base_url=PUBLIC))
    record = await gate.store.workers.get(answer.json()["worker_id"])
    assert record is not None
    assert (made["org_id"], record.org_id) == (gate.theirs.org_id, gate.theirs.org_id)


async def test_a_known_worker_does_not_change_organisation_by_another_token(gate: Gateway) -> None:
    worker = SigningWorker(gate.clock)
    worker_id = await joined(gate, worker)
    made = await token(gate, gate.theirs.headers("workers"))
    await worker.post(gate.client, JOIN, worker.body(token=made["secret"], base_url=PUBLIC))
    record = await gate.store.workers.get(worker_id)
    assert record is not None
    assert record.org_id is None


@pytest.mark.parametrize("text", [None, "", "pjt-wrong", "pjt-" + "0" * 38])
async def test_a_stranger_without_a_valid_token_is_refused(gate: Gateway, text: str | None) -> None:
    worker = SigningWorker(gate.clock)
    answer = await worker.post(gate.client, JOIN, worker.body(token=text))
    assert (answer.status_code, answer.json()["param"]) == (401, "token")


async def test_expired_and_revoked_tokens_are_refused(gate: Gateway) -> None:
    short, revoked = await token(gate, expires_in_seconds=60), await token(gate)
    gate.clock.advance(61)
    gate.ring.confirm(gate.clock.monotonic())
    assert (await gate.client.delete(f"/api/join-tokens/{revoked['id']}", headers=gate.admin)).status_code == 204
    for made in (short, revoked):
        worker = SigningWorker(gate.clock)
        assert (await worker.post(gate.client, JOIN, worker.body(token=made["secret"], base_url=PUBLIC))).status_code == 401


async def test_a_runners_token_makes_no_worker(gate: Gateway) -> None:
    made = await token(gate, role="runner")
    worker = SigningWorker(gate.clock)
    assert (await worker.post(gate.client, JOIN, worker.body(token=made["secret"], base_url=PUBLIC))).status_code == 403


async def test_a_signature_must_fit_the_body_the_path_the_time_and_the_key(gate: Gateway) -> None:
    worker, other = SigningWorker(gate.clock), SigningWorker(gate.clock)
    worker_id = await joined(gate, worker)
    path = f"/api/workers/{worker_id}/heartbeat"
    good = worker.signed(path, {"running": 1})
    forged = {
        "another body": {**good, "content": b'{"running": 2}'},
        "another path": {**worker.signed(f"/api/workers/{worker_id}/leave", {"running": 1})},
        "another key": other.signed(path, {"running": 1}),
        "too old": worker.signed(path, {"running": 1}, skew_seconds=-301),
        "too new": worker.signed(path, {"running": 1}, skew_seconds=301),
        "another time": {**good, "headers": {**good["headers"], "x-penstock-timestamp": str(int(gate.clock.time()) + 1)}},
        "no time": {**good, "headers": {**good["headers"], "x-penstock-timestamp": ""}},
        "no number": {**good, "headers": {**good["headers"], "x-penstock-timestamp": "1e9"}},
        "no nonce": {**good, "headers": {**good["headers"], "x-penstock-nonce": ""}},
        "another nonce": {**good, "headers": {**good["headers"], "x-penstock-nonce": "n" * 20}},
        "no signature": {**good, "headers": {**good["headers"], "x-penstock-signature": ""}},
        "not base64": {**good, "headers": {**good["headers"], "x-penstock-signature": "!" * 88}},
    }
    for name, call in forged.items():
        assert (await gate.client.post(path, **call)).status_code == 401, name
    assert (await gate.client.post(path, **worker.signed(path, {"running": 1}, skew_seconds=-299))).status_code == 200


async def test_replayed_signature_is_401(gate: Gateway) -> None:
    worker = SigningWorker(gate.clock)
    path = f"/api/workers/{await joined(gate, worker)}/heartbeat"
    call = worker.signed(path, {"running": 1})
    assert (await gate.client.post(path, **call)).status_code == 200
    again = await gate.client.post(path, **call)
    assert (again.status_code, again.json()["detail"]) == (401, "This signature was used before: sign each call anew.")
    assert (await worker.post(gate.client, path, {"running": 1})).status_code == 200


async def test_an_operators_key_does_not_speak_for_a_worker(gate: Gateway) -> None:
    worker_id = await joined(gate, SigningWorker(gate.clock))
    for action in ("heartbeat", "leave"):
        answer = await gate.client.post(f"/api/workers/{worker_id}/{action}", headers=gate.admin, json={})
        assert answer.status_code == 401


async def test_an_upstream_cannot_be_spoken_for(gate: Gateway) -> None:
    made = await gate.client.post("/api/workers", headers=gate.admin, json={"name": "up", "base_url": "http://127.0.0.1:9"})
    worker = SigningWorker(gate.clock)
    answer = await worker.post(gate.client, f"/api/workers/{made.json()['id']}/heartbeat", {})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"secret": "short"},
        {"models": []},
        {"slots": 0},
        {"slots": "8"},
        {"pool": "vip"},
        {"public_key": "A" * 44},
        {"public_key": "!" * 44},
        {"base_url": "ftp://127.0.0.1"},
        {"base_url": "http://user:pass@127.0.0.1"},
        {"base_url": "http://169.254.169.254/latest"},
        {"admin": True},
        *({"models": [{"id": "m", "engine_name": f"m{control}"}]} for control in CONTROLS),
        *({"models": [{"id": f"m{control}"}]} for control in CONTROLS),
        *({field: f"a{control}b"} for field in ("name", "engine", "version", "host") for control in CONTROLS),
    ],
)
async def test_join_with_wrong_fields_is_refused(gate: Gateway, fields: dict[str, Any]) -> None:
    worker = SigningWorker(gate.clock)
    answer = await worker.post(gate.client, JOIN, worker.body(token=(await token(gate))["secret"], **fields))
    assert answer.status_code in (401, 422), answer.text
    assert await gate.store.workers.all() == []


async def test_only_failures_count_against_an_address() -> None:
    limiter = AddressLimiter(ManualClock(), unauthenticated_per_minute=3, api_per_minute=2)
    async with gateway(limiter=limiter) as gate:
        worker, stranger = SigningWorker(gate.clock), SigningWorker(gate.clock)
        worker_id = await joined(gate, worker)
        path = f"/api/workers/{worker_id}/heartbeat"
        for _ in range(10):
            assert (await worker.post(gate.client, path, {})).status_code == 200
        codes = [(await stranger.post(gate.client, path, {})).status_code for _ in range(5)]
        assert codes == [401, 401, 401, 429, 429]
        assert (await worker.post(gate.client, path, {})).status_code == 200


async def test_workers_of_another_organisation_cannot_be_seen_or_steered(gate: Gateway) -> None:
    made = await token(gate, gate.theirs.headers("workers"))
    worker = SigningWorker(gate.clock)
    worker_id = (await worker.post(gate.client, JOIN, worker.body(token=made["secret"], base_url=PUBLIC))).json()["worker_id"]

    async def seen(who: Organised, role: str) -> list[str]:
        answer = await gate.client.get("/api/workers", headers=who.headers(role))
        return [each["id"] for each in answer.json()["data"]]

    assert await seen(gate.ours, "workers") == []
    assert await seen(gate.theirs, "workers") == [worker_id]
    assert await seen(gate.ours, "admin") == [worker_id]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/drain"), ("POST", "/resume")):
        answer = await gate.client.request(method, f"/api/workers/{worker_id}{path}", headers=gate.ours.headers("workers"))
        assert answer.status_code == 404, (method, path)
    assert (await gate.client.post(f"/api/workers/{worker_id}/drain", headers=gate.theirs.headers("workers"))).status_code == 200


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:19480/inner/admin",
        "http://localhost:6379",
        "http://10.0.0.1",
        f"http://{ip_address(0x646464C8)}",
        "http://[fd00:ec2::254]",
        "http://[64:ff9b::7f00:1]",
        "http://0.0.0.0:9000",
    ],
)
async def test_a_worker_of_an_organisation_in_a_private_network_is_refused(gate: Gateway, base_url: str) -> None:
    made = await token(gate, gate.theirs.headers("workers"))
    worker = SigningWorker(gate.clock)
    answer = await worker.post(gate.client, JOIN, worker.body(token=made["secret"], base_url=base_url))
    assert answer.status_code == 422
    assert "routing.worker_networks" in answer.json()["detail"]
    assert await gate.services.store.workers.all() == []


async def test_a_worker_of_the_platform_may_be_in_a_private_network(gate: Gateway) -> None:
    await joined(gate, SigningWorker(gate.clock), base_url="http://10.0.0.1:9000")


async def test_a_worker_of_an_organisation_may_be_in_a_network_that_the_operator_names() -> None:
    async with gateway(tenant_reach=Reach(["10.0.0.0/8"])) as gate:
        made = await token(gate, gate.theirs.headers("workers"))
        for host, status in (("10.1.1.1", 201), (str(ip_address(0xC0A80101)), 422)):
            worker = SigningWorker(gate.clock)
            body = worker.body(token=made["secret"], base_url=f"http://{host}:9000")
            assert (await worker.post(gate.client, JOIN, body)).status_code == status


async def test_a_disabled_organisation_introduces_no_worker(gate: Gateway) -> None:
    made = await token(gate, gate.theirs.headers("workers"))
    worker = SigningWorker(gate.clock)
    body = worker.body(token=made["secret"], base_url=PUBLIC)
    assert (await worker.post(gate.client, JOIN, body)).status_code == 201
    await gate.client.patch(f"/api/orgs/{gate.theirs.org_id}", headers=gate.admin, json={"disabled": True})
    assert (await worker.post(gate.client, JOIN, body)).status_code == 403
