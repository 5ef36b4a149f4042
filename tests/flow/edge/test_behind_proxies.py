"""A gateway behind proxies: each client has limits of its own, and wrong keys lock out neither good ones nor administrators."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Platform, platform

CALLS = [("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/api/me")]


async def statuses(open_one: Platform, method: str, path: str, times: int, **headers: str) -> set[int]:
    found = set()
    for _ in range(times):
        answer = await open_one.http.request(method, path, json={"model": "none"} if method == "POST" else None, headers=headers)
        found.add(answer.status_code)
    return found


async def fresh_key(open_one: Platform, **limits: Any) -> str:
    made = await open_one.http.post("/api/keys", json={"name": "fresh", "scopes": ["inference"], **limits})
    secret: str = made.raise_for_status().json()["secret"]
    return f"Bearer {secret}"


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_wrong_keys_lock_out_neither_a_fresh_key_nor_the_administrator(method: str, path: str, tmp_path: Path) -> None:
    async with platform(tmp_path, admission={"unauthenticated_per_minute": 5}) as open_one:
        wrong = [f"Bearer psk-{number:032d}" for number in range(3)]
        for key in wrong:
            assert await statuses(open_one, method, path, 4, authorization=key) <= {401, 429}
        fresh = await fresh_key(open_one)
        assert await statuses(open_one, method, path, 1, authorization=fresh) <= {200, 400, 404}
        login = (open_one.first.admin_email, open_one.first.admin_password)
        answers = [await open_one.http.get("/api/status", auth=login, headers={"authorization": ""}) for _ in range(7)]
        assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_clients_behind_a_trusted_proxy_are_told_apart(method: str, path: str, tmp_path: Path) -> None:
    trusted: dict[str, Any] = {"http": {"trusted_proxies": ["127.0.0.0/8"]}, "admission": {"unauthenticated_per_minute": 2}}
    async with platform(tmp_path, **trusted) as open_one:
        wrong = {"authorization": "Bearer psk-wrong"}
        assert await statuses(open_one, method, path, 5, **wrong, **{"x-forwarded-for": "192.0.2.1"}) == {401, 429}
        assert await statuses(open_one, method, path, 1, **wrong, **{"x-forwarded-for": "192.0.2.1, 192.0.2.2"}) == {401}
        assert await statuses(open_one, method, path, 1, **wrong, **{"x-forwarded-for": "192.0.2.2, 192.0.2.1"}) == {429}


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_network_of_a_key_is_checked_against_the_client_that_the_proxy_names(method: str, path: str, tmp_path: Path) -> None:
    async with platform(tmp_path, http={"trusted_proxies": ["127.0.0.0/8"], "client_address_from": "forwarded"}) as open_one:
        key = await fresh_key(open_one, allowed_networks=["192.0.2.0/24"])
        assert await statuses(open_one, method, path, 1, authorization=key, forwarded="for=192.0.2.1") <= {200, 400, 404}
        assert await statuses(open_one, method, path, 1, authorization=key, forwarded="for=192.0.2.1, for=198.51.100.1") == {403}
        assert await statuses(open_one, method, path, 1, authorization=key) == {403}


@pytest.mark.parametrize("prefix", ["", "/penstock"])
async def test_gateway_under_a_root_path_serves_requests_with_and_without_it(prefix: str, tmp_path: Path) -> None:
    async with platform(tmp_path, http={"root_path": "/penstock/"}) as open_one:
        assert await statuses(open_one, "POST", f"{prefix}/v1/chat/completions", 1) == {400}
        for path in ("/v1/models", "/api/me", "/livez", "/openapi.json", "/"):
            assert await statuses(open_one, "GET", prefix + path, 1) == {200}, path
        assert await statuses(open_one, "GET", "/penstocks/v1/models", 1) == {404}
