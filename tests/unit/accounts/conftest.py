from collections.abc import AsyncIterator, Callable

import pytest

from penstock.accounts.bootstrap import PLANS
from penstock.accounts.service import AccountService
from penstock.domain.clock import ManualClock
from penstock.domain.ports import Store
from penstock.domain.principal import KeyActor, Organisation, Principal, Scope
from penstock.storage.stores import open_store

SECRET_KEY = b"k" * 32
Caller = Callable[..., Principal]


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """Two organisations, a and b, and the plans of a first start."""
    opened = await open_store("sqlite://", secret_key=SECRET_KEY, migrate=True)
    for plan in PLANS:
        await opened.accounts.save_plan(plan)
    for name in ("a", "b"):
        await opened.accounts.create_organisation(Organisation(f"org_{name}", name, "free", 1.0))
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def service(store: Store, clock: ManualClock) -> AccountService:
    return AccountService(store.accounts, SECRET_KEY, clock)


@pytest.fixture
def caller() -> Caller:
    """Somebody of organisation a with these scopes."""
    return lambda *scopes: Principal("org_a", KeyActor("key_caller"), PLANS[0], frozenset(scopes))


@pytest.fixture
def admin(caller: Caller) -> Principal:
    return caller(Scope.ADMIN)
