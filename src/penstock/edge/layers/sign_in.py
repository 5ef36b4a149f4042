"""Who a call to `/api` is from: an API key, or an administrator's e-mail and password."""

import base64
import binascii
from typing import Protocol

from penstock.accounts.service import AccountService
from penstock.domain.errors import Internal, PermissionDenied, Unauthenticated
from penstock.domain.ports import Accounts
from penstock.domain.principal import Principal, Scope, User


class Keys(Protocol):
    """The key ring of the data plane: a key revoked for one is revoked for the other."""

    async def identify(self, authorization: bytes | None, address: str) -> Principal: ...


class SignIn:
    """The control API's `authenticate`."""

    def __init__(self, keys: Keys, accounts: AccountService, store: Accounts) -> None:
        self._keys = keys
        self._accounts = accounts
        self._store = store

    async def __call__(self, authorization: str | None, address: str) -> Principal:
        """Raises Unauthenticated, PermissionDenied, StoreUnavailable, PortUnavailable."""
        scheme, _, value = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return await self._keys.identify(authorization.encode("latin-1", "replace") if authorization else None, address)
        email, password = _credentials(value)
        return await self._principal(await self._accounts.verify_password(email, password))

    async def _principal(self, user: User | None) -> Principal:
        if user is None:
            raise Unauthenticated("This e-mail and password do not belong together.")
        organisation = await self._store.organisation(user.org_id)
        if not user.admin or organisation is None or organisation.disabled:
            raise PermissionDenied("This user may not use the control API.")
        plan = next((plan for plan in await self._store.plans() if plan.name == organisation.plan), None)
        if plan is None:
            raise Internal("The organisation's plan is gone.")
        return Principal(user.org_id, user.id, plan, frozenset(Scope))


def _credentials(value: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise Unauthenticated("The Authorization header is not valid Basic authentication.") from None
    email, colon, password = text.partition(":")
    if not colon or len(text) > 1024 or not text.isprintable():
        raise Unauthenticated("The Authorization header is not valid Basic authentication.")
    return email, password
