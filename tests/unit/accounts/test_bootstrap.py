import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.accounts.bootstrap import PLANS, FirstStart, first_start
from penstock.accounts.service import AccountService
from penstock.domain import keys
from penstock.domain.clock import ManualClock
from penstock.domain.ports import Store
from penstock.domain.principal import Scope, ServiceClass, ServiceTier
from penstock.storage.stores import open_store

SECRET_KEY = b"k" * 32


@pytest.fixture
async def empty() -> AsyncIterator[Store]:
    store = await open_store("sqlite://", secret_key=SECRET_KEY, migrate=True)
    yield store
    await store.close()


async def test_the_first_start_makes_everything_that_is_needed(empty: Store) -> None:
    clock = ManualClock()
    shown = await first_start(empty.accounts, SECRET_KEY, clock)
    assert shown is not None
    (organisation,) = await empty.accounts.organisations()
    assert (organisation.name, organisation.plan, organisation.created_at) == ("default", "enterprise", clock.time())
    key = await empty.accounts.key_by_digest(keys.digest(SECRET_KEY, shown.api_key))
    assert key is not None
    assert (key.org_id, key.scopes, key.expires_at) == (organisation.id, frozenset(Scope), None)
    service = AccountService(empty.accounts, SECRET_KEY, clock)
    token = await service.join_token(shown.join_token)
    assert (token.role, token.org_id, token.expires_at) == ("any", None, clock.time() + 7 * 86_400)
    user = await service.verify_password(shown.admin_email, shown.admin_password)
    assert user is not None
    assert (user.admin, user.org_id) == (True, organisation.id)
    assert len(shown.admin_password) >= 24


async def test_the_plans_are_the_documented_ones(empty: Store) -> None:
    await first_start(empty.accounts, SECRET_KEY, ManualClock())
    plans = {plan.name: plan for plan in await empty.accounts.plans()}
    assert plans == {plan.name: plan for plan in PLANS}
    numbers = {name: (plan.requests_per_minute, plan.tokens_per_minute, plan.concurrency) for name, plan in plans.items()}
    assert numbers == {"free": (60, 40_000, 4), "premium": (600, 400_000, 32), "enterprise": (10_000_000, 10**12, 10_000)}
    assert [plans[name].spill for name in ("free", "premium", "enterprise")] == [False, True, True]
    assert ServiceTier.PRIORITY not in plans["free"].tiers
    assert plans["enterprise"].service_class is ServiceClass.ENTERPRISE


async def test_a_second_start_shows_nothing(empty: Store) -> None:
    assert await first_start(empty.accounts, SECRET_KEY, ManualClock()) is not None
    assert await first_start(empty.accounts, SECRET_KEY, ManualClock()) is None


async def test_of_two_starts_at_once_one_shows_the_secrets_that_count(empty: Store) -> None:
    both = await asyncio.gather(*(first_start(empty.accounts, SECRET_KEY, ManualClock()) for _ in range(2)))
    (shown,) = [each for each in both if each]
    assert await empty.accounts.key_by_digest(keys.digest(SECRET_KEY, shown.api_key)) is not None
    assert len(await empty.accounts.keys()) == 1


def test_secrets_do_not_slip_into_a_log() -> None:
    shown = FirstStart("psk-1", "pjt-2", "a@b", "pass-3")
    assert repr(shown) == "FirstStart(admin_email='a@b')"
