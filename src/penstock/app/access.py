"""Who calls the control API: a key, or an administrator with e-mail and password."""

import base64
import binascii

from penstock.accounts.service import AccountService
from penstock.admission.keyring import KeyRing
from penstock.domain.errors import PortUnavailable, StoreUnavailable, Unauthenticated
from penstock.domain.ports import Store
from penstock.domain.principal import Principal, Scope


class Access:
    def __init__(self, keys: KeyRing, accounts: AccountService, store: Store) -> None:
        self._keys = keys
        self._accounts = accounts
        self._store = store

    async def authenticate(self, authorization: str | None, address: str) -> Principal:
        """Raises Unauthenticated, PermissionDenied, StoreUnavailable."""
        if authorization is not None and authorization[:6].lower() == "basic ":
            try:
                return await self._administrator(authorization[6:])
            except PortUnavailable as error:
                raise StoreUnavailable("Passwords cannot be checked at the moment.", retry_after_seconds=2.0) from error
        header = None if authorization is None else authorization.encode("utf-8", "replace")
        return await self._keys.identify(header, address)

    async def _administrator(self, credentials: str) -> Principal:
        try:
            email, _, password = base64.b64decode(credentials, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Unauthenticated("The credentials are not e-mail and password in base64.") from None
        user = await self._accounts.verify_password(email, password)
        if user is None or not user.admin:
            raise Unauthenticated("The e-mail or the password is wrong.")
        organisation = await self._store.organisation(user.org_id)
        plan = next((plan for plan in await self._store.plans() if organisation is not None and plan.name == organisation.plan), None)
        if organisation is None or organisation.disabled or plan is None:
            raise Unauthenticated("The organisation of this user is disabled.")
        return Principal(org_id=user.org_id, key_id=user.id, plan=plan, scopes=frozenset(Scope))
