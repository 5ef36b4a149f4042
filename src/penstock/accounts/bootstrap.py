"""What an empty store gets at its first start: plans, an organisation, an administrator, a key and a join token."""

import secrets
from dataclasses import dataclass, field

from penstock.accounts.passwords import Passwords
from penstock.domain import keys
from penstock.domain.clock import Clock
from penstock.domain.ids import new_id
from penstock.domain.ports import AccountStore
from penstock.domain.principal import JoinToken, KeyRecord, Organisation, Plan, Scope, ServiceClass, ServiceTier, User

ADMIN_EMAIL = "admin@penstock.internal"
_DEFAULT, _FLEX, _PRIORITY = ServiceTier.DEFAULT, ServiceTier.FLEX, ServiceTier.PRIORITY
_FIRST_TOKEN_SECONDS = 7 * 86_400.0
PLANS = (
    Plan(
        "free",
        ServiceClass.FREE,
        _DEFAULT,
        (_DEFAULT, _FLEX),
        requests_per_minute=60,
        tokens_per_minute=40_000,
        concurrency=4,
        file_bytes=2**30,
        tasks=20_000,
        schedules=50,
        workers=20,
    ),
    Plan(
        "premium",
        ServiceClass.PREMIUM,
        _DEFAULT,
        (_DEFAULT, _FLEX, _PRIORITY),
        requests_per_minute=600,
        tokens_per_minute=400_000,
        concurrency=32,
        spill=True,
        file_bytes=20 * 2**30,
        tasks=500_000,
        schedules=1_000,
        workers=500,
    ),
    Plan(
        "enterprise",
        ServiceClass.ENTERPRISE,
        _DEFAULT,
        tuple(ServiceTier),
        requests_per_minute=10_000_000,
        tokens_per_minute=10**12,
        concurrency=10_000,
        spill=True,
    ),
)


@dataclass(frozen=True, slots=True)
class FirstStart:
    """The secrets that are shown this once and never again."""

    api_key: str = field(repr=False)
    join_token: str = field(repr=False)
    admin_email: str
    admin_password: str = field(repr=False)


async def first_start(store: AccountStore, secret_key: bytes, clock: Clock) -> FirstStart | None:
    """Fill an empty store; None when it has been started before. Of several processes at once, one gets the secrets."""
    if await store.organisations():
        return None
    shown = FirstStart(
        api_key=keys.new_secret(keys.API_KEY),
        join_token=keys.new_secret(keys.JOIN_TOKEN),
        admin_email=ADMIN_EMAIL,
        admin_password=secrets.token_urlsafe(18),
    )
    now = clock.time()
    organisation = Organisation(new_id("org"), "default", "enterprise", now)
    password_hash = await Passwords().hash(shown.admin_password)
    was_first = await store.first_start(
        PLANS,
        organisation,
        User(new_id("usr"), organisation.id, shown.admin_email, password_hash, admin=True, created_at=now),
        _first_key(shown.api_key, secret_key, organisation.id, now),
        _first_token(shown.join_token, secret_key, now),
    )
    return shown if was_first else None


def _first_key(secret: str, secret_key: bytes, org_id: str, now: float) -> KeyRecord:
    digest = keys.digest(secret_key, secret)
    return KeyRecord(new_id("key"), org_id, "first key", digest, keys.hint(secret), frozenset(Scope), now)


def _first_token(secret: str, secret_key: bytes, now: float) -> JoinToken:
    """For workers and runners of the platform, in the first days: it may introduce anything."""
    expires_at = now + _FIRST_TOKEN_SECONDS
    return JoinToken(new_id("jtk"), "any", keys.digest(secret_key, secret), keys.hint(secret), None, now, expires_at)
