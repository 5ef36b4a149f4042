"""Keys of running tasks: good as long as the lease, with the submitter's rights and no more."""

from dataclasses import replace

import pytest

from penstock.domain.clock import ManualClock
from penstock.domain.errors import PermissionDenied, Unauthenticated
from penstock.domain.principal import KeyActor, Organisation, Scope, UserActor
from penstock.domain.task_keys import PREFIX, TaskKeyClaims, TaskKeys
from penstock.serving.admission.keyring import KeyRing, Pending
from tests.unit.serving.admission.principals import PLAN, SECRET_KEY, MemoryAccounts, MemoryLeases

HERE = "127.0.0.1"
CLAIMS = TaskKeyClaims("task_1", "run_1", 7, "org_1", "key_1")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def accounts() -> MemoryAccounts:
    accounts = MemoryAccounts()
    accounts.add_key("key_1")
    return accounts


@pytest.fixture
def leases() -> MemoryLeases:
    leases = MemoryLeases()
    leases.live.add(("run_1", "task_1", 7))
    return leases


@pytest.fixture
def ring(accounts: MemoryAccounts, clock: ManualClock, leases: MemoryLeases) -> KeyRing:
    return KeyRing(accounts, SECRET_KEY, clock, leases=leases)


def header(claims: TaskKeyClaims = CLAIMS, secret: bytes = SECRET_KEY) -> bytes:
    return b"Bearer " + TaskKeys(secret).issue(claims).encode()


def test_claims_are_read_back_from_their_key() -> None:
    assert TaskKeys(SECRET_KEY).read(TaskKeys(SECRET_KEY).issue(CLAIMS)) == CLAIMS


@pytest.mark.parametrize("change", ["cut", "flipped", "no base64", "empty", "another prefix"])
def test_a_changed_key_is_not_read(change: str) -> None:
    text = TaskKeys(SECRET_KEY).issue(CLAIMS)
    flipped = text[:-2] + ("A" if text[-2] != "A" else "B") + text[-1]
    changed = {"cut": text[:-4], "flipped": flipped, "no base64": text + "!", "empty": PREFIX, "another prefix": "psk-" + text[4:]}
    assert TaskKeys(SECRET_KEY).read(changed[change]) is None


async def test_a_running_task_acts_as_its_submitter(ring: KeyRing, leases: MemoryLeases) -> None:
    principal = await ring.identify(header(), HERE)
    assert (principal.org_id, principal.actor, principal.plan) == ("org_1", KeyActor("key_1"), PLAN)
    assert principal.scopes == {Scope.INFERENCE}
    assert ring.find(header(), HERE) is principal
    assert leases.lookups == 1


async def test_a_users_task_may_submit_tasks_and_not_administer(ring: KeyRing, leases: MemoryLeases) -> None:
    principal = await ring.identify(header(replace_claims(submitter_id="usr_1")), HERE)
    assert (principal.actor, principal.scopes) == (UserActor("usr_1"), frozenset({Scope.INFERENCE, Scope.TASKS_WRITE}))


def replace_claims(**changes: str) -> TaskKeyClaims:
    fields = {name: getattr(CLAIMS, name) for name in CLAIMS.__struct_fields__}
    return TaskKeyClaims(**{**fields, **changes})


async def test_the_lease_is_asked_for_again_and_its_end_ends_the_key(ring: KeyRing, clock: ManualClock, leases: MemoryLeases) -> None:
    await ring.identify(header(), HERE)
    clock.advance(1.9)
    await ring.identify(header(), HERE)
    assert leases.lookups == 1
    leases.live.clear()
    clock.advance(0.2)
    assert isinstance(ring.find(header(), HERE), Pending)
    with pytest.raises(Unauthenticated, match="has ended"):
        await ring.identify(header(), HERE)


async def test_a_key_of_another_installation_does_not_reach_the_store(ring: KeyRing, leases: MemoryLeases) -> None:
    with pytest.raises(Unauthenticated, match="Incorrect API key"):
        await ring.identify(header(secret=b"x" * 32), HERE)
    assert leases.lookups == 0


async def test_a_revoked_submitter_ends_the_keys_of_its_tasks(ring: KeyRing, accounts: MemoryAccounts) -> None:
    await ring.identify(header(), HERE)
    accounts.revoke("key_1")
    ring.forget([("key", "key_1")])
    with pytest.raises(Unauthenticated, match="revoked"):
        await ring.identify(header(), HERE)


async def test_submitter_of_another_organisation_is_refused(ring: KeyRing, accounts: MemoryAccounts) -> None:
    accounts.save_organisation(Organisation("org_2", "Two", PLAN.name, 0.0))
    with pytest.raises(Unauthenticated, match="Incorrect API key"):
        await ring.identify(header(replace_claims(org_id="org_2")), HERE)


async def test_a_disabled_organisation_ends_the_keys_of_its_tasks(ring: KeyRing, accounts: MemoryAccounts) -> None:
    accounts.save_organisation(replace(Organisation("org_1", "One", PLAN.name, 0.0), disabled=True))
    with pytest.raises(PermissionDenied, match="disabled"):
        await ring.identify(header(), HERE)


async def test_without_tasks_there_are_no_keys_of_tasks(accounts: MemoryAccounts, clock: ManualClock) -> None:
    with pytest.raises(Unauthenticated, match="Incorrect API key"):
        await KeyRing(accounts, SECRET_KEY, clock).identify(header(), HERE)
