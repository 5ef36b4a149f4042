"""Probes, metrics, documentation, static files and `/v1/models`: what anyone meets first."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from penstock.domain.models import ModelRecord, Price
from penstock.edge.application import openapi_document
from penstock.edge.layers.services import ServedModel
from penstock.edge.pages.docs_page import render
from tests.flow.edge.control_api import Gateway, gateway


async def test_livez_answers_without_a_store(gate: Gateway) -> None:
    gate.reasons.reasons = ["store_unavailable"]
    answer = await gate.client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_readyz_is_503_with_the_reasons(gate: Gateway) -> None:
    assert (await gate.client.get("/readyz")).json() == {"status": "ready", "problems": []}
    gate.reasons.reasons = ["store_unavailable"]
    answer = await gate.client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "not_ready", "problems": ["store_unavailable"]})
    health = await gate.client.get("/healthz")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
async def test_probes_answer_head_without_a_body(gate: Gateway, path: str) -> None:
    assert (await gate.client.head(path)).status_code == 200


async def test_metrics_are_served_as_prometheus_text(gate: Gateway) -> None:
    gate.services.metrics.series("sim-small", "chat", "default").by_status[2] += 1
    gate.fleet.waiting = {"sim-small": 3}
    answer = await gate.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'penstock_requests_total{model="sim-small",operation="chat",service_tier="default",status="2xx"} 1.0' in answer.text
    assert 'penstock_queue_length{model="sim-small"} 3.0' in answer.text


async def test_the_reference_page_loads_nothing_from_elsewhere(gate: Gateway) -> None:
    page = await gate.client.get("/docs")
    assert "https://" not in page.text
    assert "<script" not in page.text
    assert "/v1/chat/completions" in page.text
    assert (await gate.client.get("/docs/reference.css")).headers["content-type"].startswith("text/css")


def test_the_reference_page_escapes_what_it_shows() -> None:
    document = openapi_document("0")
    document["paths"]["/v1/models"]["get"]["summary"] = "<script>alert(1)</script>"
    assert "<script>" not in render(document)


async def test_the_document_is_served_and_covers_both_surfaces(gate: Gateway) -> None:
    document = (await gate.client.get("/openapi.json")).json()
    assert {"/v1/chat/completions", "/v1/embeddings", "/api/keys", "/readyz"} <= document["paths"].keys()
    assert document["paths"]["/v1/completions"]["post"]["responses"]["429"]["content"].keys() == {"application/json"}


async def test_the_landing_page_and_its_files_are_served_and_nothing_else(gate: Gateway) -> None:
    page = await gate.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'self'; frame-ancestors 'none'")
    assert page.headers["x-content-type-options"] == "nosniff"
    for path in ("/../pyproject.toml", "/assets/../../__init__.py", "/assets/", "/assets"):
        assert (await gate.client.get(path)).status_code == 404


async def test_cross_origin_calls_are_off_by_default_and_can_be_allowed(gate: Gateway) -> None:
    headers = {"origin": "http://app.test", "access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    assert "access-control-allow-origin" not in (await gate.client.options("/api/me", headers=headers)).headers
    async with gateway(cors_origins=("http://app.test",)) as open_one:
        allowed = await open_one.client.options("/api/me", headers=headers)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "http://app.test")
        refused = await open_one.client.options("/api/me", headers={**headers, "origin": "http://evil.test"})
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("path", ["/api/me", "/v1/models", "/v1/responses/resp_none", "/v1/nothing", "/nothing", "/livez"])
async def test_answers_and_refusals_are_readable_by_pages_of_an_allowed_origin(path: str) -> None:
    async with gateway(cors_origins=("http://app.test",)) as open_one:
        for key in ({}, open_one.ours.headers("inference")):
            answer = await open_one.client.get(path, headers={"origin": "http://app.test", **key})
            assert answer.headers["access-control-allow-origin"] == "http://app.test", answer.status_code
            assert "x-request-id" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "Origin"


async def test_model_and_its_aliases_are_ids_that_are_listed_and_shown(gate: Gateway) -> None:
    gate.fleet.extra = [
        ServedModel(ModelRecord("org/llama", Price(), ("llama", "small"), None, 1_700_000_000.0), 1, 8192, ("chat",)),
        ServedModel(ModelRecord("small", Price()), 1, None, ()),
    ]
    headers = gate.ours.headers("inference")
    own = {"object": "model", "created": 1_700_000_000, "owned_by": "penstock", "context_length": 8192, "capabilities": ["chat"]}
    listed = {model["id"]: model for model in (await gate.client.get("/v1/models", headers=headers)).json()["data"]}
    assert listed["org/llama"] == {**own, "id": "org/llama", "aliases": ["llama", "small"], "alias_of": None}
    assert listed["llama"] == {**own, "id": "llama", "aliases": [], "alias_of": "org/llama"}
    assert listed["small"]["alias_of"] is None, "a model goes before an alias"
    for name in listed:
        assert (await gate.client.get(f"/v1/models/{name}", headers=headers)).json() == listed[name]


async def test_an_unknown_model_is_openais_404(gate: Gateway) -> None:
    answer = await gate.client.get("/v1/models/none", headers=gate.ours.headers("inference"))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


async def test_the_models_of_one_organisations_workers_are_not_anothers(gate: Gateway) -> None:
    created = await gate.client.post("/api/workers", headers=gate.admin, json={"name": "up", "base_url": "http://127.0.0.1:9/v1"})
    record = replace(gate.fleet.records[created.json()["id"]], org_id=gate.theirs.org_id)
    gate.fleet.worker_joined(record)
    ours = await gate.client.get("/v1/models", headers=gate.ours.headers("inference"))
    theirs = await gate.client.get("/v1/models", headers=gate.theirs.headers("inference"))
    assert ([model["id"] for model in ours.json()["data"]], [model["id"] for model in theirs.json()["data"]]) == ([], ["llama"])


async def test_while_the_store_is_gone_v1_lists_models_and_api_says_when_to_come_back(gate: Gateway) -> None:
    assert (await gate.client.get("/api/orgs", headers=gate.admin)).status_code == 200
    await gate.store.close()
    assert (await gate.client.get("/v1/models", headers=gate.admin)).status_code == 200
    answer = await gate.client.get("/api/orgs", headers=gate.admin)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert answer.headers["retry-after"] == "2"
    status = await gate.client.get("/api/status", headers=gate.admin)
    assert (status.status_code, status.json()["store"]) == (200, "unavailable")


async def test_request_id_header_is_echoed_when_valid_and_replaced_when_not(gate: Gateway) -> None:
    async def id_of(given: str) -> str:
        response: httpx.Response = await gate.client.get("/livez", headers={"x-request-id": given})
        return response.headers["x-request-id"]

    assert await id_of("client-1.a_b") == "client-1.a_b"
    assert (await id_of("x" * 129)).startswith("req_")
    assert (await id_of("white space")).startswith("req_")


async def test_every_answer_is_logged_under_its_request_id(gate: Gateway, log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    answer = await gate.client.get(f"/api/orgs/{gate.ours.org_id}", headers=gate.ours.headers("usage"))
    await gate.client.get("/livez")
    (event,) = (line for line in log_lines() if line["logger"] == "penstock.control")
    names = ("request_id", "organisation", "plan", "method", "route", "status")
    expected = [answer.headers["x-request-id"], gate.ours.org_id, "enterprise", "GET", "/api/orgs/{org_id}", 200]
    assert [event[name] for name in names] == expected
    assert event["key_id"].startswith("key_")
    assert gate.ours.keys["usage"] not in str(event)


async def test_a_slow_answer_is_a_warning(log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    async with gateway(slow_request_seconds=0.0) as gate:
        await gate.client.get("/api/me", headers=gate.admin)
    events = [(line["event"], line["level"]) for line in log_lines() if line["logger"] == "penstock.control"]
    assert events == [("slow_request", "warning")]


@pytest.mark.parametrize("path", ["/v1/models", "/api/me", "/livez", "/openapi.json", "/"])
async def test_head_has_the_status_and_headers_of_get_and_no_body(gate: Gateway, path: str) -> None:
    headers = gate.ours.headers("inference")
    head, get = await gate.client.head(path, headers=headers), await gate.client.get(path, headers=headers)
    assert (head.status_code, head.headers["content-type"]) == (get.status_code, get.headers["content-type"])


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("POST", "/v1/responses/input_tokens", 404, "There is nothing at /v1/responses/input_tokens."),
        ("POST", "/v1/responses/compact", 404, "There is nothing at /v1/responses/compact."),
        ("POST", "/v1/responses/resp_01", 405, "This path does not allow that method."),
        ("GET", "/api/keys/", 404, "There is nothing at /api/keys/. Write /api/keys."),
        ("GET", "//api/keys", 404, "There is nothing at //api/keys. Write /api/keys."),
        ("GET", "/api/nothing/", 404, "There is nothing at /api/nothing/."),
    ],
)
async def test_path_that_is_not_there_is_named(gate: Gateway, method: str, path: str, status: int, sentence: str) -> None:
    url = gate.client.base_url.copy_with(raw_path=path.encode())
    answer = await gate.client.request(method, url, headers=gate.admin)
    found = answer.json()
    assert (answer.status_code, found["error"]["message"] if "error" in found else found["detail"]) == (status, sentence)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_metrics_are_open_on_this_machine(gate: Gateway, address: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gate.app, client=(address, 1)), base_url="http://penstock") as client:
        assert (await client.get("/metrics")).status_code == 200


async def test_metrics_need_a_token_or_an_administrator_from_elsewhere() -> None:
    async with gateway(metrics_token="scrape-me") as gate:
        transport = httpx.ASGITransport(gate.app, client=("192.0.2.5", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://penstock") as client:
            assert (await client.get("/metrics")).status_code == 401
            assert (await client.get("/metrics", headers={"authorization": "Bearer scrape-you"})).status_code == 401
            assert (await client.get("/metrics", headers={"authorization": "Bearer "})).status_code == 401
            assert (await client.get("/metrics", headers=gate.ours.headers("owner"))).status_code == 403
            assert (await client.get("/metrics", headers={"authorization": "Bearer scrape-me"})).status_code == 200
            assert (await client.get("/metrics", headers=gate.admin)).status_code == 200
            assert (await client.get("/readyz")).status_code == 200


async def test_organisation_decides_whether_its_own_workers_go_first(gate: Gateway) -> None:
    path = f"/api/orgs/{gate.ours.org_id}"
    assert (await gate.client.get(path, headers=gate.admin)).json()["own_models_first"] is False
    changed = await gate.client.patch(path, headers=gate.admin, json={"own_models_first": True})
    assert changed.json()["own_models_first"] is True
    assert (await gate.client.patch(path, headers=gate.ours.headers("workers"), json={"own_models_first": False})).status_code == 403
