import asyncio
import threading

import pytest
from argon2 import PasswordHasher, extract_parameters

from penstock.accounts import passwords
from penstock.accounts.passwords import MAX_PASSWORD_CHARS, Passwords
from penstock.accounts.service import AccountService
from penstock.domain.clock import ManualClock
from penstock.domain.errors import BadRequest, Conflict, NotFound, PermissionDenied
from penstock.domain.ports import Store
from penstock.domain.principal import Organisation, Principal, Scope
from tests.unit.accounts.conftest import Caller

PASSWORD = "correct horse 蓄電池"


async def test_an_administrator_makes_and_changes_organisations(
    service: AccountService, store: Store, clock: ManualClock, admin: Principal
) -> None:
    made = await service.create_organisation(admin, " Büro ", "premium")
    assert made == Organisation(made.id, "Büro", "premium", clock.time())
    changed = await service.update_organisation(admin, made.id, plan="free", disabled=True)
    assert changed == Organisation(made.id, "Büro", "free", clock.time(), disabled=True)
    assert await store.accounts.organisation(made.id) == changed


async def test_unchanged_organisation_writes_no_change(service: AccountService, store: Store, admin: Principal) -> None:
    before = (await store.changes.since(0)).version
    await service.update_organisation(admin, "org_a", name="a", plan="free", disabled=False)
    assert (await store.changes.since(0)).version == before


async def test_invalid_name_or_plan_of_an_organisation_is_refused(service: AccountService, admin: Principal) -> None:
    for name, plan, param in (("", "free", "name"), ("x", "platinum", "plan")):
        with pytest.raises(BadRequest) as refused:
            await service.create_organisation(admin, name, plan)
        assert refused.value.param == param
    with pytest.raises(NotFound):
        await service.update_organisation(admin, "org_none", name="x")


async def test_caller_without_admin_cannot_change_organisations_or_users(service: AccountService, caller: Caller) -> None:
    mighty = caller(*(scope for scope in Scope if scope is not Scope.ADMIN))
    for attempt in (
        service.create_organisation(mighty, "x", "enterprise"),
        service.update_organisation(mighty, "org_a", plan="enterprise"),
        service.create_user(mighty, email="x@example.org", password=PASSWORD, admin=True),
    ):
        with pytest.raises(PermissionDenied):
            await attempt


async def test_a_user_is_known_by_their_password(service: AccountService, admin: Principal) -> None:
    user = await service.create_user(admin, email="Ada@Example.org", password=PASSWORD, org_id="org_b")
    assert user.org_id == "org_b"
    assert PASSWORD not in user.password_hash
    assert await service.verify_password("ada@example.ORG", PASSWORD) == user
    assert await service.verify_password("ada@example.org", PASSWORD + " ") is None
    assert await service.verify_password("nobody@example.org", PASSWORD) is None
    assert await service.verify_password("ada@example.org", "x" * 1025) is None
    with pytest.raises(Conflict):
        await service.create_user(admin, email="ada@example.org", password=PASSWORD)


async def test_longest_password_is_accepted_and_a_longer_one_is_not_hashed(
    service: AccountService, admin: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = "x" * MAX_PASSWORD_CHARS
    user = await service.create_user(admin, email="ada@example.org", password=longest)
    assert (await service.verify_password("ada@example.org", longest), MAX_PASSWORD_CHARS) == (user, 1024)
    hashed: list[str] = []

    async def matches(_hash: str | None, password: str) -> bool:
        hashed.append(password)
        return True

    monkeypatch.setattr(service._passwords, "matches", matches)
    assert await service.verify_password("ada@example.org", longest + "x") is None
    assert await service.verify_password("ada@example.org", longest) == user
    assert hashed == [longest]


@pytest.mark.parametrize("email", ["", "ada", "@example.org", "ada@", "a@b@c", "a b@example.org", "x" * 250 + "@b.org", "a\n@b"])
async def test_a_typing_error_in_an_address_is_noticed(service: AccountService, admin: Principal, email: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await service.create_user(admin, email=email, password=PASSWORD)
    assert refused.value.param == "email"


@pytest.mark.parametrize("password", ["too short!!", "x" * 1025])
async def test_password_outside_the_length_limits_is_refused(service: AccountService, admin: Principal, password: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await service.create_user(admin, email="ada@example.org", password=password)
    assert refused.value.param == "password"


async def test_an_unknown_user_costs_the_same_work() -> None:
    parameters = extract_parameters(await Passwords().hash(PASSWORD))
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19 * 1024, 2, 1)
    assert extract_parameters(passwords._NOBODY) == parameters
    assert not await Passwords().matches(None, PASSWORD)


async def test_a_broken_hash_matches_nothing() -> None:
    assert not await Passwords().matches("not a hash", PASSWORD)


async def test_at_most_two_passwords_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    lock = threading.Lock()
    hash_it = PasswordHasher.hash

    def counted(hasher: PasswordHasher, password: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return hash_it(hasher, password)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(PasswordHasher, "hash", counted)
    hasher = Passwords()
    await asyncio.gather(*(hasher.hash(PASSWORD) for _ in range(6)))
    assert most == 2
