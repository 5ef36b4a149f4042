"""Usage reports, single records, the catalogue, and how the gateway is."""

from typing import Any

import pytest

from penstock.domain.models import ModelRecord, Price
from penstock.domain.workers import WorkerLoad, WorkerState
from penstock.edge.layers.services import LiveWorker, ServedModel
from tests.flow.edge.control_api import Gateway, usage_record

DAY = 86_400.0
START = 1_700_006_400.0  # 2023-11-15 00:00 UTC


async def fill(gate: Gateway) -> None:
    """Three requests of ours on two days and two models, one of theirs."""
    ours = {"org_id": gate.ours.org_id, "key_id": "key_a", "model": "small", "started_at": START + 10, "finished_at": START + 11}
    later = {"key_id": "key_b", "started_at": START + DAY, "finished_at": START + DAY + 1, "estimated": True}
    await gate.store.ledger.append(
        "filled",
        [
            usage_record(**ours, request_id="req_1"),
            usage_record(**{**ours, "model": "large"}, request_id="req_2", cost_micros=500, prompt_tokens=100, service_tier="priority"),
            usage_record(**{**ours, **later}, request_id="req_3"),
            usage_record(**{**ours, "org_id": gate.theirs.org_id}, request_id="req_4"),
        ],
    )


async def report(gate: Gateway, **query: Any) -> dict[str, Any]:
    answer = await gate.client.get("/api/usage", headers=gate.ours.headers("usage"), params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_report_by_model_has_totals(gate: Gateway) -> None:
    await fill(gate)
    body = await report(gate)
    rows = [(row["model"], row["requests"], row["prompt_tokens"], row["completion_tokens"], row["cost_micros"]) for row in body["data"]]
    assert rows == [("large", 1, 100, 5, 500), ("small", 2, 14, 10, 24)]
    assert body["totals"] == {
        "requests": 3,
        "prompt_tokens": 114,
        "completion_tokens": 15,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "estimated_requests": 1,
        "cost_micros": 524,
        "costs": [{"currency": "USD", "cost_micros": 524}],
    }
    assert body["has_more"] is False


@pytest.mark.parametrize(
    ("query", "names", "rows"),
    [
        ({"group_by": "day"}, ("day", "requests"), [("2023-11-15", 2), ("2023-11-16", 1)]),
        ({"group_by": "key,tier"}, ("key_id", "service_tier"), [("key_a", "priority"), ("key_a", "default"), ("key_b", "default")]),
        ({"group_by": ""}, ("model", "requests"), [("", 3)]),
        ({"model": "small"}, ("model", "requests"), [("small", 2)]),
        ({"key": "key_b"}, ("model", "requests"), [("small", 1)]),
        ({"since": START + 60}, ("model", "requests"), [("small", 1)]),
        ({"until": START + 60, "group_by": "model,day"}, ("model", "day"), [("large", "2023-11-15"), ("small", "2023-11-15")]),
        ({"since": 1, "until": 2}, ("model", "requests"), []),
        ({"since": START + 60, "until": START}, ("model", "requests"), []),
    ],
)
async def test_a_report_is_grouped_and_filtered(gate: Gateway, query: dict[str, Any], names: tuple[str, ...], rows: list[Any]) -> None:
    await fill(gate)
    body = await report(gate, **query)
    assert sorted(tuple(row[name] for name in names) for row in body["data"]) == sorted(rows)


async def test_totals_are_of_everything_even_when_the_rows_are_cut(gate: Gateway) -> None:
    await fill(gate)
    body = await report(gate, limit=1)
    assert ([row["model"] for row in body["data"]], body["has_more"], body["totals"]["requests"]) == (["large"], True, 3)


async def test_nothing_used_is_a_report_of_noughts(gate: Gateway) -> None:
    body = await report(gate)
    assert (body["data"], body["totals"]["requests"]) == ([], 0)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"group_by": "user"}, "group_by"),
        ({"group_by": "model,"}, "group_by"),
        ({"since": "yesterday"}, "since"),
        ({"since": "nan"}, "since"),
        ({"since": -1}, "since"),
        ({"until": 1e300}, "until"),
        ({"limit": 0}, "limit"),
        ({"limit": 100_000}, "limit"),
        ({"model": "a\u0000b"}, "model"),
        ({"org": "a b"}, "org"),
    ],
)
async def test_usage_query_without_meaning_is_refused(gate: Gateway, query: dict[str, Any], param: str) -> None:
    answer = await gate.client.get("/api/usage", headers=gate.admin, params=query)
    assert (answer.status_code, answer.json()["param"]) == (422, param)


async def test_records_are_paged_newest_first(gate: Gateway) -> None:
    await fill(gate)
    headers = gate.ours.headers("usage")
    first = (await gate.client.get("/api/usage/records", headers=headers, params={"limit": 2})).json()
    assert ([record["request_id"] for record in first["data"]], first["has_more"]) == (["req_3", "req_2"], True)
    rest = (await gate.client.get("/api/usage/records", headers=headers, params={"limit": 2, "after": "req_2"})).json()
    assert ([record["request_id"] for record in rest["data"]], rest["has_more"]) == (["req_1"], False)


async def test_usage_record_is_shown_by_its_request_id(gate: Gateway) -> None:
    await fill(gate)
    record = (await gate.client.get("/api/usage/records/req_3", headers=gate.ours.headers("usage"))).json()
    assert (record["outcome"], record["estimated"], record["key_id"]) == ("completed", True, "key_b")


async def test_a_price_is_set_changed_and_removed(gate: Gateway) -> None:
    path = "/api/models/org/llama-3"
    made = await gate.client.put(path, headers=gate.admin, json={"price": {"input_per_million": 150_000}, "aliases": ["llama"]})
    assert (made.status_code, made.json()["id"], made.json()["aliases"]) == (200, "org/llama-3", ["llama"])
    kept = (await gate.client.put(path, headers=gate.admin, json={"context_length": 8192})).json()
    assert (kept["price"]["input_per_million"], kept["aliases"], kept["context_length"]) == (150_000, ["llama"], 8192)
    assert kept["created_at"] == gate.clock.time()
    cleared = (await gate.client.put(path, headers=gate.admin, json={"context_length": None, "aliases": []})).json()
    assert (cleared["context_length"], cleared["aliases"]) == (None, [])
    assert (await gate.client.delete(path, headers=gate.admin)).status_code == 204
    assert (await gate.client.delete(path, headers=gate.admin)).status_code == 404


@pytest.mark.parametrize(("model", "aliases"), [("b", ["a"]), ("b", ["x"]), ("b", ["b"]), ("x", [])])
async def test_alias_that_is_taken_is_refused(gate: Gateway, model: str, aliases: list[str]) -> None:
    await gate.client.put("/api/models/a", headers=gate.admin, json={"aliases": ["x"]})
    answer = await gate.client.put(f"/api/models/{model}", headers=gate.admin, json={"aliases": aliases})
    assert (answer.status_code, answer.json()["param"]) == (409, "aliases")
    assert (await gate.client.put("/api/models/a", headers=gate.admin, json={"aliases": ["x", "y"]})).status_code == 200


async def test_the_list_joins_the_catalogue_and_the_fleet(gate: Gateway) -> None:
    await gate.store.catalog.save_model(ModelRecord("idle", Price(output_per_million=7), ("i",)))
    gate.fleet.extra = [ServedModel(ModelRecord("served", Price()), 2, 4096, ("chat",))]
    models = (await gate.client.get("/api/models", headers=gate.ours.headers("inference"))).json()["data"]
    assert [(model["id"], model["in_catalogue"], model["workers"], model["context_length"]) for model in models] == [
        ("idle", True, 0, None),
        ("served", False, 2, 4096),
    ]


async def test_status_shows_load_and_problems_of_the_gateway(gate: Gateway) -> None:
    gate.fleet.live["w"] = LiveWorker("w", WorkerState.SUSPECT, load=WorkerLoad(), in_flight=2, outstanding_tokens=30, ejected_until=5.0)
    gate.fleet.waiting = {"a": 2, "b": 1}
    gate.reasons.reasons = ["draining"]
    body = (await gate.client.get("/api/status", headers=gate.ours.headers("inference"))).json()
    assert body == {
        "version": "0.0.test",
        "ready": False,
        "problems": ["draining"],
        "store": "ok",
        "workers": {"joining": 0, "ready": 0, "suspect": 1, "draining": 0, "dead": 0},
        "requests_in_flight": 2,
        "queue_length": 3,
        "queues": {"a": 2, "b": 1},
        "uptime_seconds": 1.0,
    }


async def test_two_currencies_have_two_totals_and_none_for_both(gate: Gateway) -> None:
    ours = {"org_id": gate.ours.org_id, "key_id": "key_a", "model": "small", "started_at": START}
    records = [usage_record(**ours, request_id=f"req_{code}", currency=code, cost_micros=7) for code in ("EUR", "USD")]
    await gate.store.ledger.append("batch", records)
    body = await report(gate, group_by="org,key")
    assert [(row["currency"], row["cost_micros"]) for row in body["data"]] == [("EUR", 7), ("USD", 7)]
    assert (body["totals"]["cost_micros"], body["totals"]["requests"]) == (None, 2)
    assert body["totals"]["costs"] == [{"currency": "EUR", "cost_micros": 7}, {"currency": "USD", "cost_micros": 7}]


async def test_request_is_found_by_the_id_that_its_client_sent_and_not_by_another_organisation(gate: Gateway) -> None:
    now = gate.clock.time()
    for number, account in enumerate((gate.ours, gate.theirs)):
        made = usage_record(
            org_id=account.org_id, key_id="k", model="m", request_id=f"req_{number}", client_request_id="cust-7", started_at=now
        )
        await gate.store.ledger.append(f"batch {number}", [made])
    for number, account in enumerate((gate.ours, gate.theirs)):
        found = await gate.client.get("/api/usage/records/cust-7", headers=account.headers("usage"))
        assert (found.status_code, found.json()["request_id"]) == (200, f"req_{number}")
    assert (await gate.client.get("/api/usage/records/cust-8", headers=gate.ours.headers("usage"))).status_code == 404
