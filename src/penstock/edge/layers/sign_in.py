"""Who a call to `/api` is from: an API key, or an administrator's e-mail and password."""

import base64
import binascii
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from penstock.accounts.standing import Denial, OrganisationLookup, principal_of_user
from penstock.domain.errors import Internal, PenstockError, PermissionDenied, Unauthenticated
from penstock.domain.principal import Principal, User

_NOT_ADMITTED = (PermissionDenied, "This user may not use the control API.")
DENIALS: Mapping[Denial, tuple[type[PenstockError], str]] = MappingProxyType(
    {
        Denial.UNKNOWN_USER: (Unauthenticated, "This e-mail and password do not belong together."),
        Denial.NOT_ADMIN: _NOT_ADMITTED,
        Denial.UNKNOWN_ORGANISATION: _NOT_ADMITTED,
        Denial.DISABLED_ORGANISATION: _NOT_ADMITTED,
        Denial.NO_PLAN: (Internal, "The organisation's plan is gone."),
    }
)


class KeyCheck(Protocol):
    """The key ring of the data plane: a key revoked for one is revoked for the other."""

    async def identify(self, authorization: bytes | None, address: str) -> Principal: ...


class PasswordCheck(Protocol):
    """The part of `AccountService` that knows passwords."""

    async def verify_password(self, email: str, password: str) -> User | None: ...


class SignInLimiter(Protocol):
    """How often an account, and an address, may show a wrong password."""

    def check(self, address: str, authenticated: bool) -> None:
        """Count a call, here one without credentials that could be looked at. Raises RateLimited."""
        ...

    def begin_sign_in(self, address: str, account: str) -> None:
        """Raises RateLimited."""
        ...

    def end_sign_in(self, address: str, account: str) -> None:
        """The password was right."""
        ...


class SignIn:
    """The control API's `authenticate`."""

    def __init__(
        self, keys: KeyCheck, passwords: PasswordCheck, accounts: OrganisationLookup, limiter: SignInLimiter | None = None
    ) -> None:
        self._limiter = limiter
        self._keys = keys
        self._passwords = passwords
        self._accounts = accounts

    async def __call__(self, authorization: str | None, address: str) -> Principal:
        """Raises Unauthenticated, PermissionDenied, RateLimited, StoreUnavailable, PortUnavailable."""
        scheme, _, value = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return await self._keys.identify(authorization.encode("latin-1", "replace") if authorization else None, address)
        try:
            email, password = _credentials(value)
        except Unauthenticated:
            if self._limiter is not None:
                self._limiter.check(address, False)
            raise
        # Counted before the password is looked at: a wrong guess must cost the guesser, not us.
        if self._limiter is not None:
            self._limiter.begin_sign_in(address, email)
        user = await self._passwords.verify_password(email, password)
        if user is not None and self._limiter is not None:
            self._limiter.end_sign_in(address, email)
        found = await principal_of_user(self._accounts, user)
        if isinstance(found, Denial):
            error, message = DENIALS[found]
            raise error(message)
        return found


def _credentials(value: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise Unauthenticated("The Authorization header is not valid Basic authentication.") from None
    email, colon, password = text.partition(":")
    if not colon or len(text) > 1024 or not text.isprintable():
        raise Unauthenticated("The Authorization header is not valid Basic authentication.")
    return email, password
