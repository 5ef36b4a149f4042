import pytest

from penstock.accounts.service import AccountService
from penstock.domain import keys
from penstock.domain.clock import ManualClock
from penstock.domain.errors import BadRequest, NotFound, PermissionDenied, Unauthenticated
from penstock.domain.ports import Store
from penstock.domain.principal import KeyActor, KeyRecord, Principal, Scope
from tests.unit.accounts.conftest import SECRET_KEY, Caller


async def test_a_new_key_is_found_by_its_digest(service: AccountService, store: Store, clock: ManualClock, caller: Caller) -> None:
    record, secret = await service.create_key(
        caller(Scope.KEYS_WRITE, Scope.INFERENCE),
        name="  ci  ",
        expires_in_seconds=60,
        allowed_networks=["10.0.0.0/8", "2001:DB8::/32", "192.0.2.1", "10.0.0.0/8"],
        requests_per_minute=5,
        tokens_per_minute=7,
    )
    assert keys.well_formed(secret, keys.API_KEY)
    assert await store.accounts.key_by_digest(keys.digest(SECRET_KEY, secret)) == record
    assert record == KeyRecord(
        id=record.id,
        org_id="org_a",
        name="ci",
        digest=keys.digest(SECRET_KEY, secret),
        hint=secret[:8],
        scopes=frozenset({Scope.INFERENCE}),
        created_at=clock.time(),
        expires_at=clock.time() + 60,
        allowed_networks=("10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32"),
        requests_per_minute=5,
        tokens_per_minute=7,
    )


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "line\nbreak"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"expires_in_seconds": 0}, "expires_in_seconds"),
        ({"expires_in_seconds": -1}, "expires_in_seconds"),
        ({"expires_in_seconds": float("nan")}, "expires_in_seconds"),
        ({"expires_in_seconds": float("inf")}, "expires_in_seconds"),
        ({"allowed_networks": ["10.0.0.0/33"]}, "allowed_networks"),
        ({"allowed_networks": ["10.0.0.1/8"]}, "allowed_networks"),
        ({"allowed_networks": [f"10.0.{n}.0/24" for n in range(65)]}, "allowed_networks"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": 10**16}, "tokens_per_minute"),
    ],
)
async def test_an_impossible_key_is_refused_by_field(
    service: AccountService, admin: Principal, wish: dict[str, object], param: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        await service.create_key(admin, **({"name": "x"} | wish))  # type: ignore[arg-type] # the parameters are the test's subject
    assert refused.value.param == param


async def test_key_with_a_scope_that_its_creator_lacks_is_refused(service: AccountService, store: Store, caller: Caller) -> None:
    writer = caller(Scope.KEYS_WRITE, Scope.INFERENCE)
    for scope in (Scope.ADMIN, Scope.WORKERS_WRITE, Scope.USAGE_READ):
        with pytest.raises(PermissionDenied):
            await service.create_key(writer, name="x", scopes=[Scope.INFERENCE, scope])
    with pytest.raises(PermissionDenied):
        await service.create_key(caller(Scope.INFERENCE), name="x")
    assert await store.accounts.keys() == []


async def test_an_administrator_grants_everything_to_every_organisation(service: AccountService, admin: Principal) -> None:
    record, _ = await service.create_key(admin, name="x", scopes=Scope, org_id="org_b")
    assert (record.org_id, record.scopes) == ("org_b", frozenset(Scope))
    with pytest.raises(NotFound):
        await service.create_key(admin, name="x", org_id="org_none")


async def test_a_foreign_organisation_and_its_keys_do_not_exist(
    service: AccountService, store: Store, caller: Caller, admin: Principal
) -> None:
    writer = caller(Scope.KEYS_WRITE, Scope.INFERENCE)
    foreign, _ = await service.create_key(admin, name="x", org_id="org_b")
    messages = []
    for key_id in (foreign.id, "key_none"):
        with pytest.raises(NotFound) as refused:
            await service.revoke_key(writer, key_id)
        messages.append(refused.value.message)
    assert len(set(messages)) == 1  # the answer does not tell which of the two it is
    with pytest.raises(NotFound):
        await service.create_key(writer, name="x", org_id="org_b")
    assert await store.accounts.key(foreign.id) == foreign


async def test_revoked_key_stays_revoked(service: AccountService, store: Store, clock: ManualClock, caller: Caller) -> None:
    writer = caller(Scope.KEYS_WRITE, Scope.INFERENCE)
    record, _ = await service.create_key(writer, name="x")
    first = clock.time()
    await service.revoke_key(writer, record.id)
    clock.advance(5)
    await service.revoke_key(writer, record.id)
    found = await store.accounts.key(record.id)
    assert found is not None
    assert found.revoked_at == first
    with pytest.raises(PermissionDenied):
        await service.revoke_key(caller(Scope.INFERENCE), record.id)


async def test_a_join_token_is_accepted_until_it_expires(service: AccountService, clock: ManualClock, admin: Principal) -> None:
    record, secret = await service.create_join_token(admin, expires_in_seconds=60)
    assert keys.well_formed(secret, keys.JOIN_TOKEN)
    assert record.org_id is None
    clock.advance(59.5)
    assert await service.join_token(secret) == record
    clock.advance(0.5)
    with pytest.raises(Unauthenticated):
        await service.join_token(secret)


async def test_a_wrong_token_and_a_revoked_one_get_the_same_answer(service: AccountService, admin: Principal) -> None:
    record, secret = await service.create_join_token(admin)
    await service.revoke_join_token(admin, record.id)
    _, api_key = await service.create_key(admin, name="x")
    messages = set()
    for text in (secret, keys.new_secret(keys.JOIN_TOKEN), "", "pjt-", api_key):
        with pytest.raises(Unauthenticated) as refused:
            await service.join_token(text)
        messages.add(refused.value.message)
    assert len(messages) == 1


async def test_a_join_token_of_an_organisation_serves_that_one_alone(service: AccountService, caller: Caller, admin: Principal) -> None:
    operator = caller(Scope.WORKERS_WRITE)
    own, _ = await service.create_join_token(operator, role="runner")
    assert (own.org_id, own.role) == ("org_a", "runner")
    platform, _ = await service.create_join_token(admin)
    for token_id in (platform.id, "jtk_none"):
        with pytest.raises(NotFound):
            await service.revoke_join_token(operator, token_id)
    with pytest.raises(NotFound):
        await service.create_join_token(operator, org_id="org_b")
    with pytest.raises(BadRequest):
        await service.create_join_token(operator, role="admin")
    with pytest.raises(PermissionDenied):
        await service.create_join_token(caller(Scope.KEYS_WRITE))
    await service.revoke_join_token(operator, own.id)


async def narrow(service: AccountService, admin: Principal, **limits: object) -> Principal:
    """A caller with a key of these limits."""
    record, _ = await service.create_key(
        admin,
        name="narrow",
        scopes=[Scope.KEYS_WRITE, Scope.WORKERS_WRITE, Scope.INFERENCE],
        org_id="org_a",
        **limits,  # type: ignore[arg-type]
    )
    return Principal("org_a", KeyActor(record.id), admin.plan, record.scopes)


async def test_a_key_has_what_the_key_that_made_it_has(service: AccountService, admin: Principal, clock: ManualClock) -> None:
    limits = {
        "expires_in_seconds": 60,
        "allowed_networks": ["10.0.0.0/8"],
        "requests_per_minute": 2,
        "tokens_per_minute": 100,
        "concurrency": 5,
    }
    maker = await narrow(service, admin, **limits)
    child, _ = await service.create_key(maker, name="child")
    shown = (child.expires_at, child.allowed_networks, child.requests_per_minute, child.tokens_per_minute, child.concurrency)
    assert shown == (clock.time() + 60, ("10.0.0.0/8",), 2, 100, 5)
    narrower, _ = await service.create_key(
        maker,
        name="narrower",
        expires_in_seconds=30,
        allowed_networks=["10.1.0.0/16"],
        requests_per_minute=1,
        tokens_per_minute=50,
        concurrency=1,
    )
    shown = (narrower.expires_at, narrower.allowed_networks, narrower.requests_per_minute, narrower.tokens_per_minute, narrower.concurrency)
    assert shown == (clock.time() + 30, ("10.1.0.0/16",), 1, 50, 1)
    token, _ = await service.create_join_token(maker)
    assert token.expires_at == clock.time() + 60


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"expires_in_seconds": 61}, "expires_in_seconds"),
        ({"allowed_networks": ["10.0.0.0/7"]}, "allowed_networks"),
        ({"allowed_networks": ["10.1.0.0/16", "::/0"]}, "allowed_networks"),
        ({"requests_per_minute": 3}, "requests_per_minute"),
        ({"tokens_per_minute": 101}, "tokens_per_minute"),
        ({"concurrency": 6}, "concurrency"),
    ],
)
async def test_a_key_is_never_wider_than_the_one_that_makes_it(
    service: AccountService, admin: Principal, wish: dict[str, object], param: str
) -> None:
    limits = {
        "expires_in_seconds": 60,
        "allowed_networks": ["10.0.0.0/8"],
        "requests_per_minute": 2,
        "tokens_per_minute": 100,
        "concurrency": 5,
    }
    maker = await narrow(service, admin, **limits)
    with pytest.raises(PermissionDenied) as refused:
        await service.create_key(maker, name="wider", **wish)  # type: ignore[arg-type]
    assert refused.value.param == param


async def test_a_join_token_does_not_outlive_the_key_that_makes_it(service: AccountService, admin: Principal) -> None:
    maker = await narrow(service, admin, expires_in_seconds=60)
    with pytest.raises(PermissionDenied):
        await service.create_join_token(maker, expires_in_seconds=61)
