"""The one rule of who still may act, and the words that each way into the platform has for a refusal."""

import base64
from collections.abc import Callable

import msgspec
import pytest

from penstock.accounts.bootstrap import PLANS
from penstock.accounts.standing import (
    Denial,
    has_expired,
    key_denial,
    principal_of_key,
    principal_of_submitter,
    principal_of_task,
    principal_of_user,
    system_principal,
)
from penstock.domain.clock import ManualClock
from penstock.domain.errors import Internal, PenstockError, PermissionDenied, Unauthenticated
from penstock.domain.principal import (
    Actor,
    KeyActor,
    OrganisationActor,
    Principal,
    Scope,
    SystemActor,
    UserActor,
    stored_actor,
    stored_id,
)
from penstock.durable.tasks import submitters
from penstock.durable.tasks.inference import SubmitterCalls
from penstock.durable.tasks.submitters import SubmitterRevoked, Submitters
from penstock.edge.layers import sign_in
from penstock.edge.layers.sign_in import SignIn
from penstock.serving.admission import keyring
from penstock.serving.admission.keyring import KeyRing
from tests.support.account_lookup import EMAIL, KEY, ORG, PASSWORD, SECRET_KEY, USER, MemoryAccounts

NOW = ManualClock().time()
HERE = "127.0.0.1"
INFERENCE = frozenset({Scope.INFERENCE})

Change = Callable[[MemoryAccounts], None]
FAULTS: dict[Denial, Change] = {
    Denial.UNKNOWN_KEY: lambda accounts: setattr(accounts, "knows_key", False),
    Denial.FOREIGN_KEY: lambda accounts: accounts.change_key(org_id="org_b"),
    Denial.REVOKED_KEY: lambda accounts: accounts.change_key(revoked_at=NOW - 1),
    Denial.EXPIRED_KEY: lambda accounts: accounts.change_key(expires_at=NOW),
    Denial.UNKNOWN_USER: lambda accounts: setattr(accounts, "knows_user", False),
    Denial.NOT_ADMIN: lambda accounts: accounts.change_user(admin=False),
    Denial.UNKNOWN_ORGANISATION: lambda accounts: accounts.organisations.clear(),
    Denial.DISABLED_ORGANISATION: lambda accounts: accounts.change_organisation(disabled=True),
    Denial.NO_PLAN: lambda accounts: accounts.change_organisation(plan="gone"),
}
"""What to break so that a reason holds."""

AT_KEY_RING: dict[Denial, tuple[type[PenstockError], str]] = {
    Denial.UNKNOWN_KEY: (Unauthenticated, "Incorrect API key provided."),
    Denial.REVOKED_KEY: (Unauthenticated, "This API key has been revoked."),
    Denial.EXPIRED_KEY: (Unauthenticated, "This API key has expired."),
    Denial.UNKNOWN_ORGANISATION: (PermissionDenied, "The organisation of this API key is disabled."),
    Denial.DISABLED_ORGANISATION: (PermissionDenied, "The organisation of this API key is disabled."),
    Denial.NO_PLAN: (PermissionDenied, "The organisation of this API key has no valid plan."),
}
AT_SIGN_IN: dict[Denial, tuple[type[PenstockError], str]] = {
    Denial.UNKNOWN_USER: (Unauthenticated, "This e-mail and password do not belong together."),
    Denial.NOT_ADMIN: (PermissionDenied, "This user may not use the control API."),
    Denial.UNKNOWN_ORGANISATION: (PermissionDenied, "This user may not use the control API."),
    Denial.DISABLED_ORGANISATION: (PermissionDenied, "This user may not use the control API."),
    Denial.NO_PLAN: (Internal, "The organisation's plan is gone."),
}
FOR_TASKS: dict[Denial, tuple[str, str]] = {
    Denial.UNKNOWN_KEY: ("key_revoked", "The API key that submitted this task has been revoked."),
    Denial.FOREIGN_KEY: ("key_revoked", "The API key that submitted this task has been revoked."),
    Denial.REVOKED_KEY: ("key_revoked", "The API key that submitted this task has been revoked."),
    Denial.EXPIRED_KEY: ("key_expired", "The API key that submitted this task has expired."),
    Denial.UNKNOWN_ORGANISATION: ("organisation_disabled", "The organisation that submitted this task is disabled."),
    Denial.DISABLED_ORGANISATION: ("organisation_disabled", "The organisation that submitted this task is disabled."),
    Denial.NO_PLAN: ("no_plan", "The organisation that submitted this task has no valid plan."),
}


@pytest.fixture
def accounts() -> MemoryAccounts:
    return MemoryAccounts()


def basic() -> str:
    return "Basic " + base64.b64encode(f"{EMAIL}:{PASSWORD}".encode()).decode()


# who may


async def test_a_valid_key_acts_with_its_own_scopes_and_limits(accounts: MemoryAccounts) -> None:
    expected = Principal(ORG, KeyActor(KEY), PLANS[0], INFERENCE, tokens_per_minute=7)
    assert await principal_of_key(accounts, accounts.record, NOW) == expected
    assert await principal_of_submitter(accounts, ORG, KeyActor(KEY), NOW) == expected


async def test_an_administrator_acts_with_every_scope(accounts: MemoryAccounts) -> None:
    assert await principal_of_user(accounts, accounts.user) == Principal(ORG, UserActor(USER), PLANS[0], frozenset(Scope))


@pytest.mark.parametrize("actor", [UserActor(USER), OrganisationActor(ORG)])
async def test_running_task_of_a_user_or_an_organisation_may_submit_more(accounts: MemoryAccounts, actor: Actor) -> None:
    expected = Principal(ORG, actor, PLANS[0], INFERENCE | {Scope.TASKS_WRITE})
    assert await principal_of_task(accounts, ORG, actor, NOW) == expected


async def test_running_task_of_a_key_has_no_scope_that_the_key_lacks(accounts: MemoryAccounts) -> None:
    accounts.change_key(scopes=frozenset({Scope.TASKS_WRITE, Scope.ADMIN, Scope.KEYS_WRITE}))
    found = await principal_of_task(accounts, ORG, KeyActor(KEY), NOW)
    assert isinstance(found, Principal)
    assert found.scopes == frozenset({Scope.TASKS_WRITE})


@pytest.mark.parametrize("actor", [UserActor(USER), OrganisationActor(ORG)])
async def test_work_submitted_by_a_user_or_an_organisation_may_only_make_inferences(accounts: MemoryAccounts, actor: Actor) -> None:
    assert await principal_of_submitter(accounts, ORG, actor, NOW) == Principal(ORG, actor, PLANS[0], INFERENCE)


def test_the_system_may_everything_and_belongs_to_no_organisation() -> None:
    principal = system_principal("penstock-up", PLANS[0])
    assert (principal.org_id, principal.actor, principal.scopes) == ("", SystemActor("penstock-up"), frozenset({Scope.ADMIN}))


# who may not, and why


@pytest.mark.parametrize("denial", AT_KEY_RING)
async def test_a_key_with_one_fault_is_denied_for_that_fault(accounts: MemoryAccounts, denial: Denial) -> None:
    FAULTS[denial](accounts)
    record = await accounts.key_by_digest(accounts.record.digest)
    assert await principal_of_key(accounts, record, NOW) is denial


@pytest.mark.parametrize("denial", FOR_TASKS)
async def test_a_submitting_key_with_one_fault_is_denied_for_that_fault(accounts: MemoryAccounts, denial: Denial) -> None:
    FAULTS[denial](accounts)
    assert await principal_of_submitter(accounts, ORG, KeyActor(KEY), NOW) is denial


@pytest.mark.parametrize("denial", [each for each in AT_SIGN_IN if each is not Denial.UNKNOWN_USER])
async def test_a_user_with_one_fault_is_denied_for_that_fault(accounts: MemoryAccounts, denial: Denial) -> None:
    FAULTS[denial](accounts)
    assert await principal_of_user(accounts, accounts.user) is denial


async def test_an_unknown_user_is_denied(accounts: MemoryAccounts) -> None:
    assert await principal_of_user(accounts, None) is Denial.UNKNOWN_USER


@pytest.mark.parametrize("denial", [Denial.UNKNOWN_ORGANISATION, Denial.DISABLED_ORGANISATION, Denial.NO_PLAN])
@pytest.mark.parametrize("actor", [UserActor(USER), OrganisationActor(ORG)])
async def test_work_of_a_user_or_an_organisation_is_denied_with_the_organisation(
    accounts: MemoryAccounts, actor: Actor, denial: Denial
) -> None:
    FAULTS[denial](accounts)
    assert await principal_of_submitter(accounts, ORG, actor, NOW) is denial


def test_a_key_expires_at_its_second_and_not_before(accounts: MemoryAccounts) -> None:
    accounts.change_key(expires_at=NOW)
    assert key_denial(accounts.record, ORG, NOW - 0.001) is None
    assert key_denial(accounts.record, ORG, NOW) is Denial.EXPIRED_KEY
    assert not has_expired(None, NOW)


# the words of each caller


def test_every_caller_has_words_for_every_denial_that_it_can_meet() -> None:
    users_only = {Denial.UNKNOWN_USER, Denial.NOT_ADMIN}
    # A key that acts for another organisation is met with the key of a task alone (tests/unit/serving/admission/test_task_keys.py).
    assert set(AT_KEY_RING) | {Denial.FOREIGN_KEY} == set(keyring.DENIALS) == set(Denial) - users_only
    assert set(FOR_TASKS) == set(submitters.DENIALS) == set(Denial) - users_only
    keys_only = {Denial.UNKNOWN_KEY, Denial.FOREIGN_KEY, Denial.REVOKED_KEY, Denial.EXPIRED_KEY}
    assert set(AT_SIGN_IN) == set(sign_in.DENIALS) == set(Denial) - keys_only


@pytest.mark.parametrize("denial", AT_KEY_RING)
async def test_the_key_ring_refuses_with_its_own_error(accounts: MemoryAccounts, denial: Denial) -> None:
    FAULTS[denial](accounts)
    ring = KeyRing(accounts, SECRET_KEY, ManualClock())
    with pytest.raises(PenstockError) as refused:
        await ring.identify(f"Bearer {accounts.secret}".encode(), HERE)
    assert (type(refused.value), str(refused.value)) == AT_KEY_RING[denial]


@pytest.mark.parametrize("denial", AT_SIGN_IN)
async def test_sign_in_refuses_with_its_own_error(accounts: MemoryAccounts, denial: Denial) -> None:
    FAULTS[denial](accounts)
    signing_in = SignIn(KeyRing(accounts, SECRET_KEY, ManualClock()), accounts, accounts)
    with pytest.raises(PenstockError) as refused:
        await signing_in(basic(), HERE)
    assert (type(refused.value), str(refused.value)) == AT_SIGN_IN[denial]


@pytest.mark.parametrize("denial", FOR_TASKS)
async def test_a_task_of_a_denied_submitter_ends_with_a_code_and_a_reason(accounts: MemoryAccounts, denial: Denial) -> None:
    FAULTS[denial](accounts)
    assert await Submitters(accounts, ManualClock()).principal(ORG, KEY) == SubmitterRevoked(*FOR_TASKS[denial])


class NoInference:
    """Implements `domain.ports.Inference`: no call may reach it."""

    def run(self, principal: Principal, call: object, reply: object) -> object:
        raise AssertionError(f"a call of {principal.org_id} got through")


@pytest.mark.parametrize("denial", FOR_TASKS)
async def test_the_call_of_a_denied_submitter_is_refused_before_the_pipeline(accounts: MemoryAccounts, denial: Denial) -> None:
    """What a remote runner's grant ends in."""
    FAULTS[denial](accounts)
    clock = ManualClock()
    submitter_calls = SubmitterCalls(NoInference(), Submitters(accounts, clock), lambda now: "req_1", clock)  # type: ignore[arg-type] # never called
    answer = await submitter_calls.call(ORG, KEY, "/v1/chat/completions", b"{}", own_class=False)
    error = msgspec.json.decode(answer.body)["error"]
    assert (answer.status, error["code"], error["message"]) == (403, *FOR_TASKS[denial])


async def test_a_submitter_is_believed_for_a_second_and_then_asked_for_again(accounts: MemoryAccounts) -> None:
    clock = ManualClock()
    known = Submitters(accounts, clock)
    first = await known.principal(ORG, KEY)
    accounts.change_key(revoked_at=NOW)
    assert await known.principal(ORG, KEY) is first
    clock.advance(1.0)
    assert await known.principal(ORG, KEY) == SubmitterRevoked(*FOR_TASKS[Denial.REVOKED_KEY])


async def test_a_submitter_that_has_not_changed_stays_the_same_object(accounts: MemoryAccounts) -> None:
    clock = ManualClock()
    known = Submitters(accounts, clock)
    first = await known.principal(ORG, KEY)
    clock.advance(1.0)
    assert await known.principal(ORG, KEY) is first


# the stored form of an actor


@pytest.mark.parametrize(
    ("actor", "stored", "actor_id"),
    [(KeyActor("key_1"), "key_1", "key_1"), (UserActor("usr_1"), "usr_1", "usr_1"), (OrganisationActor(ORG), "", ORG)],
)
def test_an_actor_comes_back_from_its_stored_form(actor: Actor, stored: str, actor_id: str) -> None:
    assert stored_id(actor) == stored
    assert stored_actor(ORG, stored) == actor
    assert Principal(ORG, actor, PLANS[0], INFERENCE).actor_id == actor_id
