"""What the calls of workers and of runners share: the signature is checked, and a join token introduces an unknown public key.

A failure counts against the caller's address, a success does not: many workers and runners may call from one address.
"""

from typing import Literal

from fastapi import Request

from penstock.domain.errors import NotFound, PermissionDenied, QuotaExhausted, Unauthenticated
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


async def may_join(services: ControlServices, org_id: str | None, *, is_new: bool) -> None:
    """Raises PermissionDenied when the organisation is disabled, QuotaExhausted when it has as many workers and runners as it may."""
    if org_id is None:
        return
    accounts = services.store.accounts
    organisation = await accounts.organisation(org_id)
    if organisation is None or organisation.disabled:
        raise PermissionDenied("The organisation of this token is disabled.", param="token")
    plan = next((each for each in await accounts.plans() if each.name == organisation.plan), None)
    if plan is None or not is_new:
        return
    workers = sum(each.org_id == org_id for each in await services.store.workers.all())
    runners = len({each.identity for each in await services.tasks.store.runners() if each.org_id == org_id})
    if workers + runners >= plan.workers:
        message = f"The plan of this organisation allows {plan.workers} workers and runners together: remove some."
        raise QuotaExhausted(message, param="token", retry=False)


def unknown_caller(request: Request, services: ControlServices, role: Role) -> NotFound:
    """The answer for an id that does not exist: it tells the caller to join again. Raises RateLimited."""
    _count_failure(request, services)
    return NotFound(f"There is no such {role}; join again.")


def _count_failure(request: Request, services: ControlServices) -> None:
    services.limiter.check(client_address(request.scope), authenticated=False)
