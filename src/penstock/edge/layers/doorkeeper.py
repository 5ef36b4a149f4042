"""Nobody reaches a route of `/api` or `/v1` unknown: a route that forgets to ask who is calling is still closed."""

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from penstock.domain.errors import Unauthenticated
from penstock.domain.principal import Principal
from penstock.edge.layers.services import ControlServices

_RUNNERS_SAY = "claim|news|beat|finish|progress|call|leave"
_SIGNED_BY_WORKERS = re.compile(rf"/api/(workers/(join|[^/]+/(heartbeat|leave))|runners/(join|[^/]+/({_RUNNERS_SAY})))")


_BY_PLAN = ("POST", "/v1/responses")
"""Inference is limited by the caller's plan, wherever it comes from."""


def is_signed_by_worker(method: str, path: str) -> bool:
    """The calls that a worker or runner signs with its own key; they are verified where the body is known."""
    return method == "POST" and _SIGNED_BY_WORKERS.fullmatch(path) is not None


class Doorkeeper:
    """Puts the principal into the request's state, before a byte of the body is read; counts calls by client address."""

    def __init__(self, app: ASGIApp, services: ControlServices) -> None:
        self.app = app
        self.services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _needs_key(scope["method"], scope["path"]):
            scope["state"]["principal"] = await self._principal(
                Headers(scope=scope), client_address(scope), counted=(scope["method"], scope["path"]) != _BY_PLAN
            )
        await self.app(scope, receive, send)

    async def _principal(self, headers: Headers, address: str, *, counted: bool) -> Principal:
        authorizations = headers.getlist("authorization")
        if len(authorizations) > 1:
            raise Unauthenticated("More than one Authorization header.")
        authorization = authorizations[0] if authorizations else None
        guessable = authorization is not None and authorization[:6].lower() == "basic "
        if guessable:
            # Counted before the password is looked at: a wrong guess must cost the guesser, not us.
            self.services.limiter.check(address, authenticated=False)
        try:
            principal = await self.services.authenticate(authorization, address)
        except Unauthenticated:
            if not guessable:
                self.services.limiter.check(address, authenticated=False)
            raise
        if counted:
            self.services.limiter.check(address, authenticated=True)
        return principal


def _needs_key(method: str, path: str) -> bool:
    inside = path in ("/api", "/v1") or path.startswith(("/api/", "/v1/"))
    return inside and not is_signed_by_worker(method, path)


def client_address(scope: Scope) -> str:
    """The peer's address; empty for a socket that has none."""
    client = scope.get("client")
    return str(client[0]) if client else ""
