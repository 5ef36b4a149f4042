"""What the calls of workers and of runners share: the signature is checked, and a join token introduces an unknown public key.

A failure counts against the caller's address, a success does not: many workers and runners may call from one address.
"""

from typing import Literal

from fastapi import Request

from penstock.domain.errors import NotFound, PermissionDenied, Unauthenticated
from penstock.domain.principal import JoinToken
from penstock.edge.layers import signatures
from penstock.edge.layers.doorkeeper import client_address
from penstock.edge.layers.services import ControlServices

Role = Literal["worker", "runner"]


async def check_signature(request: Request, services: ControlServices, public_key: bytes) -> None:
    """Raises Unauthenticated, RateLimited."""
    try:
        body, now = await request.body(), services.clock.time()
        signatures.verify(public_key, request.method, request.scope["path"], request.headers, body, now, services.used_signatures)
    except Unauthenticated:
        _count_failure(request, services)
        raise


async def redeem(request: Request, services: ControlServices, text: str | None, role: Role) -> JoinToken:
    """The join token of that text, good for this role. Raises Unauthenticated, PermissionDenied, RateLimited."""
    try:
        token = await services.accounts.join_token(text or "")
    except Unauthenticated:
        _count_failure(request, services)
        if text is None:
            raise Unauthenticated(f"This {role} is not known yet: it needs a join token.", param="token") from None
        raise
    if token.role not in (role, "any"):
        raise PermissionDenied(f"This token is for a {token.role}, not for a {role}.", param="token")
    return token


def unknown_caller(request: Request, services: ControlServices, role: Role) -> NotFound:
    """The answer for an id that does not exist: it tells the caller to join again. Raises RateLimited."""
    _count_failure(request, services)
    return NotFound(f"There is no such {role}; join again.")


def _count_failure(request: Request, services: ControlServices) -> None:
    services.limiter.check(client_address(request.scope), authenticated=False)
