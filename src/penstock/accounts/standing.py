"""Who acts, and whether they still may: from a key, a user or the submitter of a task to a principal, or the reason why there is none.

Every way into the platform ends here, so that the rule is written once: the credential is known, not revoked and not expired and belongs
to its organisation; the organisation exists and is enabled; its plan exists. Each caller has its own words for a `Denial`.
"""

from dataclasses import replace
from enum import StrEnum
from typing import Protocol

from penstock.domain.principal import (
    Actor,
    KeyActor,
    KeyRecord,
    Organisation,
    Plan,
    Principal,
    Scope,
    SystemActor,
    User,
    UserActor,
)

_OF_TASKS = frozenset({Scope.INFERENCE, Scope.TASKS_WRITE})


class OrganisationLookup(Protocol):
    """The part of the port `Accounts` that knows organisations and plans. Its methods may raise PortUnavailable."""

    async def organisation(self, org_id: str) -> Organisation | None: ...
    async def plans(self) -> list[Plan]: ...


class AccountLookup(OrganisationLookup, Protocol):
    """The part that also knows keys by their ids."""

    async def key(self, key_id: str) -> KeyRecord | None: ...


class Denial(StrEnum):
    """Why there is no principal."""

    UNKNOWN_KEY = "unknown_key"
    """There is no such API key."""
    FOREIGN_KEY = "foreign_key"
    """The key belongs to another organisation than the one that it is said to act for."""
    REVOKED_KEY = "revoked_key"
    EXPIRED_KEY = "expired_key"
    UNKNOWN_USER = "unknown_user"
    """There is no user with this address and this password."""
    NOT_ADMIN = "not_admin"
    """The user may not use the control API."""
    UNKNOWN_ORGANISATION = "unknown_organisation"
    DISABLED_ORGANISATION = "disabled_organisation"
    NO_PLAN = "no_plan"
    """The organisation's plan does not exist."""


async def principal_of_key(accounts: OrganisationLookup, key: KeyRecord | None, now: float) -> Principal | Denial:
    """`key`: as it was found by its secret; `now`: Unix time. Raises PortUnavailable."""
    if key is None:
        return Denial.UNKNOWN_KEY
    if denial := key_denial(key, key.org_id, now):
        return denial
    plan = await _plan_of(accounts, key.org_id)
    return plan if isinstance(plan, Denial) else _key_principal(key, plan)


async def principal_of_user(accounts: OrganisationLookup, user: User | None) -> Principal | Denial:
    """`user`: as found by address and password. Raises PortUnavailable."""
    if user is None:
        return Denial.UNKNOWN_USER
    if not user.admin:
        return Denial.NOT_ADMIN
    plan = await _plan_of(accounts, user.org_id)
    return plan if isinstance(plan, Denial) else Principal(user.org_id, UserActor(user.id), plan, frozenset(Scope))


async def principal_of_submitter(accounts: AccountLookup, org_id: str, actor: Actor, now: float) -> Principal | Denial:
    """On whose behalf work runs that was submitted earlier, such as a task, or the call that a runner's grant allows.

    A key acts with its scopes and limits of now. A user or an organisation may make inferences, and nothing else. Raises PortUnavailable.
    """
    plan = await _plan_of(accounts, org_id)
    if isinstance(plan, Denial):
        return plan
    if not isinstance(actor, KeyActor):
        return Principal(org_id, actor, plan, frozenset({Scope.INFERENCE}))
    key = await accounts.key(actor.id)
    if key is None:
        return Denial.UNKNOWN_KEY
    return key_denial(key, org_id, now) or _key_principal(key, plan)


async def principal_of_task(accounts: AccountLookup, org_id: str, actor: Actor, now: float) -> Principal | Denial:
    """The code of a running task: what its submitter may do, but no more than submit, watch and cancel tasks and make inferences.

    A user or an organisation that could submit the task may do that again from inside it. Raises PortUnavailable.
    """
    found = await principal_of_submitter(accounts, org_id, actor, now)
    if isinstance(found, Denial):
        return found
    own = found.scopes if isinstance(actor, KeyActor) else _OF_TASKS
    return replace(found, scopes=own & _OF_TASKS)


def system_principal(name: str, plan: Plan) -> Principal:
    """A process of the platform, which may do everything and belongs to no organisation."""
    return Principal("", SystemActor(name), plan, frozenset({Scope.ADMIN}))


def key_denial(key: KeyRecord, org_id: str, now: float) -> Denial | None:
    """What is wrong with a key that acts for an organisation; None: nothing."""
    if key.org_id != org_id:
        return Denial.FOREIGN_KEY
    if key.revoked_at is not None:
        return Denial.REVOKED_KEY
    return Denial.EXPIRED_KEY if has_expired(key.expires_at, now) else None


def has_expired(expires_at: float | None, now: float) -> bool:
    """None: it never does."""
    return expires_at is not None and now >= expires_at


async def _plan_of(accounts: OrganisationLookup, org_id: str) -> Plan | Denial:
    """The plan of an organisation that exists and is enabled."""
    organisation = await accounts.organisation(org_id)
    if organisation is None:
        return Denial.UNKNOWN_ORGANISATION
    if organisation.disabled:
        return Denial.DISABLED_ORGANISATION
    return next((plan for plan in await accounts.plans() if plan.name == organisation.plan), Denial.NO_PLAN)


def _key_principal(key: KeyRecord, plan: Plan) -> Principal:
    return Principal(
        org_id=key.org_id,
        actor=KeyActor(key.id),
        plan=plan,
        scopes=key.scopes,
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
        concurrency=key.concurrency,
    )
