"""Who may make and end accounts, tokens and users, at the borders of each rule; and how their ids begin."""

from collections.abc import Awaitable, Callable

import pytest

from penstock.accounts import rules
from penstock.accounts.passwords import Passwords
from penstock.accounts.service import AccountService
from penstock.accounts.standing import principal_of_key
from penstock.domain.clock import ManualClock
from penstock.domain.errors import BadRequest, NotFound, PermissionDenied, Unauthenticated
from penstock.domain.ports import Store
from penstock.domain.principal import Organisation, Principal, Scope
from tests.unit.accounts.conftest import Caller

PASSWORD = "correct horse battery"


async def test_ids_begin_with_what_they_name(service: AccountService, admin: Principal) -> None:
    organisation = await service.create_organisation(admin, "c", "free")
    key, _ = await service.create_key(admin, name="k")
    token, _ = await service.create_join_token(admin)
    user = await service.create_user(admin, email="a@b.c", password=PASSWORD)
    found = {each.id.split("_", 1)[0] for each in (organisation, key, token, user)}
    assert found == {"org", "key", "jtk", "usr"}


async def test_renamed_organisation_keeps_its_plan_and_the_other_way_round(service: AccountService, store: Store, admin: Principal) -> None:
    renamed = await service.update_organisation(admin, "org_a", name=" new ")
    assert (renamed.name, renamed.plan, renamed.disabled) == ("new", "free", False)
    moved = await service.update_organisation(admin, "org_a", plan="premium", disabled=True)
    assert (moved.name, moved.plan, moved.disabled) == ("new", "premium", True)
    assert await store.accounts.organisation("org_a") == moved


@pytest.mark.parametrize("change", [{"name": "x"}, {}])
async def test_unknown_organisation_cannot_be_changed(service: AccountService, admin: Principal, change: dict[str, str]) -> None:
    with pytest.raises(NotFound) as raised:
        await service.update_organisation(admin, "org_x", name=change.get("name"))
    assert str(raised.value) == "There is no such organisation."


async def test_organisation_that_goes_between_read_and_write_is_not_found(
    service: AccountService, store: Store, admin: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(organisation: Organisation) -> bool:
        return False

    monkeypatch.setattr(store.accounts, "update_organisation", gone)
    with pytest.raises(NotFound) as raised:
        await service.update_organisation(admin, "org_a", name="x")
    assert str(raised.value) == "There is no such organisation."


async def test_key_and_token_of_an_unknown_organisation_are_refused_to_an_administrator(service: AccountService, admin: Principal) -> None:
    for made in (service.create_key(admin, name="k", org_id="org_x"), service.create_join_token(admin, org_id="org_x")):
        with pytest.raises(NotFound) as raised:
            await made
        assert str(raised.value) == "There is no such organisation."


async def test_administrator_makes_join_tokens_for_the_platform_or_for_a_named_organisation(
    service: AccountService, admin: Principal
) -> None:
    platforms, _ = await service.create_join_token(admin)
    own, _ = await service.create_join_token(admin, org_id="org_a")
    other, _ = await service.create_join_token(admin, org_id="org_b")
    assert [token.org_id for token in (platforms, own, other)] == [None, "org_a", "org_b"]


async def test_organisation_of_the_caller_need_not_be_looked_up(service: AccountService, caller: Caller, store: Store) -> None:
    """Named or not, it is the caller's own."""
    who = caller(Scope.KEYS_WRITE, Scope.INFERENCE)
    made = [(await service.create_key(who, name="k", org_id=org_id))[0].org_id for org_id in (None, "org_a")]
    assert made == ["org_a", "org_a"]


async def test_join_token_is_revoked_only_by_who_may_write_workers(service: AccountService, caller: Caller, admin: Principal) -> None:
    token, text = await service.create_join_token(admin, org_id="org_a")
    with pytest.raises(PermissionDenied):
        await service.revoke_join_token(caller(Scope.KEYS_WRITE, Scope.INFERENCE), token.id)
    assert (await service.join_token(text)).id == token.id
    await service.revoke_join_token(caller(Scope.WORKERS_WRITE), token.id)
    with pytest.raises(Unauthenticated) as raised:
        await service.join_token(text)
    assert raised.value.param == "token"


async def test_foreign_key_and_token_are_refused_by_the_name_of_their_kind(
    service: AccountService, caller: Caller, admin: Principal
) -> None:
    key, _ = await service.create_key(admin, name="k", org_id="org_b")
    token, _ = await service.create_join_token(admin, org_id="org_b")
    calls: dict[str, Awaitable[None]] = {
        "There is no such key.": service.revoke_key(caller(Scope.KEYS_WRITE), key.id),
        "There is no such join token.": service.revoke_join_token(caller(Scope.WORKERS_WRITE), token.id),
    }
    for message, call in calls.items():
        with pytest.raises(NotFound) as raised:
            await call
        assert str(raised.value) == message


async def test_refused_role_and_scope_are_named(service: AccountService, admin: Principal, caller: Caller) -> None:
    with pytest.raises(BadRequest) as role:
        await service.create_join_token(admin, role="boss")
    with pytest.raises(PermissionDenied) as scope:
        await service.create_key(caller(Scope.KEYS_WRITE), name="k", scopes=[Scope.INFERENCE, Scope.ADMIN])
    assert (role.value.param, scope.value.param) == ("role", "scopes")
    assert str(scope.value) == "You cannot grant scopes that you do not have: admin, inference."


async def test_limits_of_a_key_travel_to_its_principal(service: AccountService, store: Store, admin: Principal, clock: ManualClock) -> None:
    record, _ = await service.create_key(admin, name="k", requests_per_minute=5, tokens_per_minute=7)
    found = await principal_of_key(store.accounts, record, clock.time())
    assert isinstance(found, Principal)
    assert (found.requests_per_minute, found.tokens_per_minute) == (5, 7)


async def test_longest_password_is_accepted(service: AccountService, admin: Principal) -> None:
    longest = "p" * 256
    user = await service.create_user(admin, email="a@b.c", password=longest)
    assert await service.verify_password("a@b.c", longest) == user


async def test_password_check_without_a_stored_hash_never_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords()
    monkeypatch.setattr(passwords, "_verify", lambda password_hash, password: True)
    assert await passwords.matches(None, "x") is False
    assert await passwords.matches("$a hash", "x") is True


def test_broken_hash_is_answered_with_false() -> None:
    assert Passwords()._verify("no hash", "x") is False


ACCEPTED: dict[str, tuple[Callable[[], object], object]] = {
    "longest address": (lambda: rules.email("a" * 242 + "@example.org"), "a" * 242 + "@example.org"),
    "most networks": (
        lambda: rules.networks(f"10.0.0.{number}" for number in range(rules.MAX_NETWORKS)),
        tuple(f"10.0.0.{number}/32" for number in range(rules.MAX_NETWORKS)),
    ),
    "smallest limit": (lambda: rules.limit(1, "p"), 1),
    "largest limit": (lambda: rules.limit(rules.MAX_LIMIT, "p"), rules.MAX_LIMIT),
    "shortest life": (lambda: rules.expiry(0.5, 10.0), 10.5),
    "longest life": (lambda: rules.expiry(rules.MAX_LIFE_SECONDS, 10.0), 10.0 + rules.MAX_LIFE_SECONDS),
}


@pytest.mark.parametrize(("made", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_value_at_the_border_is_accepted(made: Callable[[], object], expected: object) -> None:
    assert made() == expected


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "address of more than 254 characters": (lambda: rules.email("a" * 243 + "@example.org"), "email"),
    "one network too many": (lambda: rules.networks(f"10.0.0.{number}" for number in range(rules.MAX_NETWORKS + 1)), "allowed_networks"),
    "limit of zero": (lambda: rules.limit(0, "p"), "p"),
    "limit above the largest": (lambda: rules.limit(rules.MAX_LIMIT + 1, "p"), "p"),
    "no life at all": (lambda: rules.expiry(0.0, 10.0), "expires_in_seconds"),
    "endless life": (lambda: rules.expiry(float("inf"), 10.0), "expires_in_seconds"),
    "life that is no number": (lambda: rules.expiry(float("nan"), 10.0), "expires_in_seconds"),
}


@pytest.mark.parametrize(("made", "param"), REFUSED.values(), ids=REFUSED)
def test_value_beyond_the_border_is_refused(made: Callable[[], object], param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        made()
    assert raised.value.param == param
