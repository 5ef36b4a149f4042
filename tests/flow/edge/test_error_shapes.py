"""Whatever goes wrong, wherever: the status, the shape, the request id, and nothing internal."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from penstock.domain.clock import ManualClock
from penstock.serving.admission.addresses import AddressLimiter
from tests.flow.edge.control_api import Gateway, gateway
from tests.flow.edge.routes import BODIED, BODIED_V1, FAST_LANE, GUARDED, routes

CANARY = "/srv/penstock/canary: SELECT secret"


def check(answer: httpx.Response, path: str, status: int, code: str) -> dict[str, Any]:
    """The body's members, after the shape was found right."""
    assert answer.status_code == status, f"{answer.request.method} {path}: {answer.text}"
    assert answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    document: dict[str, Any] = answer.json()
    if path.startswith("/v1"):
        assert answer.headers["content-type"] == "application/json"
        assert document.keys() == {"error"}
        assert document["error"].keys() == {"message", "type", "param", "code"}
        document = document["error"]
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert document["type"] == "about:blank"
        assert document["status"] == status
        assert document["title"]
        assert document["detail"]
        assert document["request_id"] == answer.headers["x-request-id"]
    assert document["code"] == code
    assert CANARY not in answer.text
    return document


async def test_request_without_a_key_is_401_on_every_route(gate: Gateway) -> None:
    for route in GUARDED:
        answer = await gate.client.request(route.method, route.url(), json=route.body)
        check(answer, route.path, 401, "invalid_api_key")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "authorization", ["Bearer psk-wrong", "Bearer", "Basic !!!", "Basic bm9ib2R5", "Digest x", "Bearer psk-\xff", "basic bm9ib2R5OngK"]
)
async def test_malformed_or_unknown_key_is_401(gate: Gateway, authorization: str) -> None:
    headers = [(b"authorization", authorization.encode("latin-1"))]
    for path in ("/api/me", "/api/nothing", "/v1/models"):
        check(await gate.client.get(path, headers=headers), path, 401, "invalid_api_key")


async def test_a_second_authorization_header_is_refused(gate: Gateway) -> None:
    key = gate.admin["authorization"]
    answer = await gate.client.get("/api/me", headers=[("authorization", key), ("authorization", key)])
    check(answer, "/api/me", 401, "invalid_api_key")


@pytest.mark.parametrize("header", ["api-key", "x-api-key"])
async def test_a_key_in_another_header_does_not_count(gate: Gateway, header: str) -> None:
    answer = await gate.client.get("/v1/models", headers={header: gate.ours.keys["admin"]})
    check(answer, "/v1/models", 401, "invalid_api_key")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_unknown_path_is_404_in_shape(gate: Gateway, method: str) -> None:
    for path in ("/api/nothing", "/api", "/api/", "/api/keys/", "/v1/nothing", "/v1", "/v1/audio/speech", "/nothing"):
        check(await gate.client.request(method, path, headers=gate.admin), path, 404, "not_found")


async def test_a_method_that_a_path_does_not_have(gate: Gateway) -> None:
    table = routes()
    for route in table:
        answer = await gate.client.request("TRACE", route.url(), headers=gate.admin)
        check(answer, route.path, 405, "method_not_allowed")
        allowed = {other.method.upper() for other in table if other.path == route.path}
        assert allowed <= {method.strip() for method in answer.headers["allow"].split(",")}, route


async def test_the_inference_routes_take_post_alone(gate: Gateway) -> None:
    for path in sorted(FAST_LANE - {"/v1/models/{model}/infer"}):  # a model may have that name, and GET shows it
        answer = await gate.client.get(path, headers=gate.admin)
        check(answer, path, 405, "method_not_allowed")
        assert answer.headers["allow"] == "POST"


async def test_unknown_field_is_named_by_every_route(gate: Gateway) -> None:
    for route in BODIED:
        answer = await gate.client.request(route.method, route.url(), headers=gate.admin, json={"is_admin": CANARY})
        errors = check(answer, route.path, 422, "validation_error")["errors"]
        assert {"param": "is_admin", "detail": "there is no such field."} in errors, route


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b'{"name": "\xff"}', 400, "invalid_json"),
        (b"[" * 1000 + b"]" * 1000, 400, "invalid_json"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, 400, "invalid_json"),
        (b"[]", 422, "validation_error"),
        (b'"text"', 422, "validation_error"),
        (b"null", 422, "validation_error"),
        (b"", 422, "validation_error"),
        (b'{"name": "\\ud800"}', 422, "validation_error"),
    ],
)
async def test_malformed_body_is_refused_by_every_route(gate: Gateway, content: bytes, status: int, code: str) -> None:
    headers = {**gate.admin, "content-type": "application/json"}
    for route in BODIED:
        check(await gate.client.request(route.method, route.url(), headers=headers, content=content), route.path, status, code)


@pytest.mark.parametrize(
    "content", [b"{", b"\xff\xfe", b"[" * 1000, b"[]", b'"text"', b"null", b"", b"{}", b'{"is_admin": "x"}', b'{"model": 5}']
)
async def test_malformed_body_under_v1_is_400(gate: Gateway, content: bytes) -> None:
    headers = {**gate.admin, "content-type": "application/json"}
    for route in BODIED_V1:
        answer = await gate.client.request(route.method, route.url(), headers=headers, content=content)
        check(answer, route.path, 400, answer.json()["error"]["code"])
        assert answer.json()["error"]["code"] in ("invalid_json", "invalid_request_error", "unsupported_parameter")


async def test_body_without_a_json_content_type_is_422(gate: Gateway) -> None:
    headers = {**gate.admin, "content-type": "text/plain"}
    for route in BODIED:
        answer = await gate.client.request(route.method, route.url(), headers=headers, content=b"{}")
        assert "JSON object" in check(answer, route.path, 422, "validation_error")["detail"]


@pytest.mark.parametrize("path", ["/api/keys", "/v1/nothing"])
async def test_a_body_that_is_too_large_is_not_read(gate: Gateway, path: str) -> None:
    read = 0

    async def pieces() -> Any:
        nonlocal read
        for _ in range(1000):
            read += 1
            yield b"x" * 1024 * 1024

    check(await gate.client.post(path, headers=gate.admin, content=pieces()), path, 413, "request_too_large")
    assert read <= 11
    declared = {**gate.admin, "content-length": str(11 * 1024 * 1024)}
    check(await gate.client.post(path, headers=declared, content=b""), path, 413, "request_too_large")


async def test_a_stranger_cannot_make_us_read_much(gate: Gateway) -> None:
    declared = {"content-length": str(2 * 1024 * 1024)}
    check(await gate.client.post("/api/workers/join", headers=declared, content=b""), "/api", 413, "request_too_large")
    check(await gate.client.post("/api/keys", headers={"content-length": "9" * 30}, content=b""), "/api", 401, "invalid_api_key")


@pytest.mark.parametrize("path", ["/api/keys", "/v1/nothing"])
@pytest.mark.parametrize("length", ["-1", "1_0", "ten", ""])
async def test_content_length_that_is_not_a_number_is_400(gate: Gateway, path: str, length: str) -> None:
    answer = await gate.client.post(path, headers={**gate.admin, "content-length": length}, content=b"")
    check(answer, path, 400, "invalid_request_error")


@pytest.mark.parametrize("path", ["/api/status", "/v1/models"])
async def test_internal_error_tells_nothing_internal(path: str) -> None:
    async with gateway() as gate:
        gate.fleet.broken = RuntimeError(CANARY)
        answer = await gate.client.get(path, headers=gate.admin)
        check(answer, path, 500, "internal_error")


@pytest.mark.parametrize("path", ["/api/me", "/v1/models"])
async def test_too_many_calls_from_an_address(path: str) -> None:
    limiter = AddressLimiter(ManualClock(), unauthenticated_per_minute=2, api_per_minute=3)
    async with gateway(limiter=limiter) as gate:
        for _ in range(3):
            assert (await gate.client.get(path, headers=gate.admin)).status_code == 200
        answer = await gate.client.get(path, headers=gate.admin)
        check(answer, path, 429, "rate_limit_exceeded")
        assert int(answer.headers["retry-after"]) >= 1
        for _ in range(2):
            check(await gate.client.get(path), path, 401, "invalid_api_key")
        check(await gate.client.get(path), path, 429, "rate_limit_exceeded")
        assert (await gate.client.get("/livez")).status_code == 200


async def test_guessed_passwords_are_counted_before_they_are_looked_at() -> None:
    limiter = AddressLimiter(ManualClock(), unauthenticated_per_minute=2, api_per_minute=100)
    async with gateway(limiter=limiter) as gate:
        headers = {"authorization": "Basic bm9ib2R5OngK"}
        codes = [(await gate.client.get("/api/me", headers=headers)).status_code for _ in range(4)]
        assert codes == [401, 401, 429, 429]


async def test_half_an_answer_is_cut_and_not_followed_by_another(gate: Gateway) -> None:
    """The envelope cannot take back a status that has left: the server closes the connection."""
    app: FastAPI = gate.app

    async def break_off(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError(CANARY)

    app.router.mount("/broken", break_off)
    with pytest.raises(RuntimeError):
        await gate.client.get("/broken/x")
