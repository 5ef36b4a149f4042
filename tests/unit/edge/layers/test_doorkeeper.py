"""Who is let in, and what is counted against an address."""

from dataclasses import dataclass, field

import pytest

from penstock.domain.errors import PenstockError, RateLimited, StoreUnavailable, Unauthenticated
from penstock.domain.principal import KeyActor, Plan, Principal, Scope, ServiceClass, ServiceTier
from penstock.edge.layers.doorkeeper import Doorkeeper
from tests.unit.edge.asgi import RecordingApp, call, control_services, http_scope

PLAN = Plan("enterprise", ServiceClass.ENTERPRISE, ServiceTier.DEFAULT, tuple(ServiceTier), 60, 1000, 10)
CALLER = Principal("org_1", KeyActor("key_1"), PLAN, frozenset({Scope.INFERENCE}))
KEY = {"authorization": "Bearer good"}


@dataclass
class Door:
    """A doorkeeper before an application that records what reaches it; `Bearer good` is the only key."""

    asked: list[tuple[str | None, str]] = field(default_factory=list)
    counted: list[tuple[str, bool]] = field(default_factory=list)
    refuse_with: PenstockError | None = None
    full: bool = False

    def __post_init__(self) -> None:
        self.behind = RecordingApp()
        self.entrance = PlanOfTwo()
        services = control_services(authenticate=self._authenticate, limiter=self, entrance=self.entrance)
        self.app = Doorkeeper(self.behind, services, lambda method, path: (method, path) == ("POST", "/api/workers/join"))

    async def _authenticate(self, authorization: str | None, address: str) -> Principal:
        self.asked.append((authorization, address))
        if self.refuse_with is not None:
            raise self.refuse_with
        if authorization != "Bearer good":
            raise Unauthenticated("Incorrect API key provided.")
        return CALLER

    def check(self, address: str, authenticated: bool) -> None:
        self.counted.append((address, authenticated))
        if self.full:
            raise RateLimited("Too many calls.")


@pytest.mark.parametrize("path", ["/api", "/v1", "/api/", "/v1/", "/api/me", "/v1/models", "/api/nothing", "/v1/nothing"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "HEAD"])
async def test_path_of_the_api_is_closed_without_a_key(method: str, path: str) -> None:
    door = Door()
    with pytest.raises(Unauthenticated):
        await call(door.app, http_scope(method, path))
    assert door.behind.scopes == []


@pytest.mark.parametrize("path", ["/", "/docs", "/livez", "/metrics", "/apix", "/v10/models", "/API/me"])
async def test_path_outside_the_api_is_open(path: str) -> None:
    door = Door()
    await call(door.app, http_scope("GET", path))
    assert (len(door.behind.scopes), door.asked) == (1, [])


async def test_caller_with_a_key_is_put_into_the_state() -> None:
    door = Door()
    await call(door.app, http_scope(headers=KEY))
    assert door.behind.scopes[0]["state"]["principal"] is CALLER
    assert door.asked == [("Bearer good", "127.0.0.1")]


async def test_signed_call_passes_without_a_key_and_without_a_principal() -> None:
    door = Door()
    await call(door.app, http_scope("POST", "/api/workers/join"))
    assert "principal" not in door.behind.scopes[0]["state"]
    assert door.asked == []


async def test_signed_path_by_another_method_needs_a_key() -> None:
    with pytest.raises(Unauthenticated):
        await call(Door().app, http_scope("GET", "/api/workers/join"))


async def test_second_authorization_header_is_refused_before_either_is_looked_at() -> None:
    door = Door()
    lines = [(b"authorization", b"Bearer good"), (b"authorization", b"Bearer good")]
    with pytest.raises(Unauthenticated, match="More than one"):
        await call(door.app, {**http_scope(), "headers": lines})
    assert door.asked == []


async def test_call_with_a_key_counts_as_authenticated() -> None:
    door = Door()
    await call(door.app, http_scope(headers=KEY))
    assert door.counted == [("127.0.0.1", True)]


async def test_call_that_the_plan_limits_is_not_counted_by_address() -> None:
    door = Door()
    await call(door.app, http_scope("POST", "/v1/responses", KEY))
    assert door.counted == []


async def test_wrong_key_counts_as_unauthenticated() -> None:
    door = Door()
    with pytest.raises(Unauthenticated):
        await call(door.app, http_scope(headers={"authorization": "Bearer bad"}))
    assert door.counted == [("127.0.0.1", False)]


async def test_address_with_too_many_wrong_keys_is_told_so() -> None:
    door = Door(full=True)
    with pytest.raises(RateLimited):
        await call(door.app, http_scope(headers={"authorization": "Bearer bad"}))


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
async def test_wrong_password_is_not_counted_with_wrong_keys(scheme: str) -> None:
    """Passwords have limits of their own, in `SignIn`: wrong keys of an address must not lock its administrator out."""
    door = Door(full=True)
    with pytest.raises(Unauthenticated):
        await call(door.app, http_scope(headers={"authorization": f"{scheme} dGVzdA=="}))
    assert door.counted == []


async def test_store_that_is_away_is_not_counted_against_the_caller() -> None:
    door = Door(refuse_with=StoreUnavailable("API keys cannot be checked."))
    with pytest.raises(StoreUnavailable):
        await call(door.app, http_scope(headers=KEY))
    assert door.counted == []


async def test_caller_without_an_address_is_counted_under_the_empty_one() -> None:
    door = Door()
    await call(door.app, http_scope(headers=KEY, client=None))
    assert door.counted == [("", True)]


async def test_scope_without_a_request_passes_unasked() -> None:
    """The server's start and end are told to the application; there is nobody to ask for a key."""
    door = Door()
    await call(door.app, {"type": "lifespan", "state": {}})
    assert ([scope["type"] for scope in door.behind.scopes], door.asked) == (["lifespan"], [])


class PlanOfTwo:
    """An entrance of two requests and 1,000 bytes."""

    def __init__(self) -> None:
        self.requests = 2
        self.bytes = 1000

    def enter(self, principal: Principal) -> None:
        if not self.requests:
            raise RateLimited("Too many requests.", retry_after_seconds=3.0)
        self.requests -= 1

    def leave(self, principal: Principal) -> None:
        self.requests += 1

    def headers(self, principal: Principal) -> dict[str, str]:
        return {"x-ratelimit-remaining-requests": str(self.requests)}

    def count_bytes(self, principal: Principal, body_bytes: int) -> None:
        if body_bytes > self.bytes:
            raise RateLimited("Too many bytes.")


async def statuses(door: Door, path: str, times: int = 1, length: str = "0") -> list[int]:
    found = []
    for _ in range(times):
        scope = http_scope("POST", path, KEY | {"content-length": length}, state={"request_id": "req_1"})
        answered = await call(door.app, scope)
        found.append(answered.status)
        if answered.status == 429:
            assert answered.headers["x-ratelimit-remaining-requests"] == str(door.entrance.requests)
    return found


async def test_inference_counts_against_the_plan_before_its_body_is_read() -> None:
    door = Door()
    assert await statuses(door, "/v1/responses", 4) == [204, 204, 429, 429]
    assert len(door.behind.bodies) == 2
    assert await statuses(door, "/v1/batches", 3) == [204] * 3


async def test_large_body_counts_its_bytes_except_for_a_file_that_goes_to_the_disk() -> None:
    door = Door()
    assert await statuses(door, "/api/tasks", length="1001") == await statuses(door, "/v1/responses", length="1001") == [429]
    assert await statuses(door, "/v1/files", length="1001") == [204]
    assert await statuses(door, "/api/tasks", length="1000") == [204]
