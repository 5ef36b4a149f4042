"""No unknown caller reaches a route of `/api` or `/v1`: a route that forgets to ask who is calling is still closed."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from penstock.domain.errors import RateLimited, Unauthenticated
from penstock.domain.principal import Principal
from penstock.edge.layers.problems import answer
from penstock.edge.layers.services import ControlServices, Entrance

_BY_PLAN = ("POST", "/v1/responses")
"""Inference is limited by the caller's plan, wherever it comes from."""


STREAMED = frozenset({("POST", "/v1/files")})
"""Bodies that go to the disk as they come in, within a limit of their own."""

IsCall = Callable[[str, str], bool]
"""Whether a method and a path are a call of some kind."""


class Doorkeeper:
    """Puts the principal into the request's state, before a byte of the body is read; counts calls by client address.

    `is_signed`: calls that need no key, because their route verifies a signature.
    """

    def __init__(self, app: ASGIApp, services: ControlServices, is_signed: IsCall) -> None:
        self.app = app
        self.services = services
        self.is_signed = is_signed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._needs_key(scope["method"], scope["path"]):
            headers, call = Headers(scope=scope), (scope["method"], scope["path"])
            principal = await self._principal(headers, client_address(scope), counted=call != _BY_PLAN)
            scope["state"]["principal"] = principal
            entrance = self.services.entrance
            if entrance is not None:
                try:
                    self._count(entrance, principal, call, headers.get("content-length", "0"))
                except RateLimited as error:
                    await answer(error, call[1], scope["state"]["request_id"], entrance.headers(principal))(scope, receive, send)
                    return
        await self.app(scope, receive, send)

    def _count(self, entrance: Entrance, principal: Principal, call: tuple[str, str], length: str) -> None:
        """Raises RateLimited, before anything looks into the body. A file goes to the disk unread."""
        if call == _BY_PLAN:
            entrance.enter(principal)
        if call not in STREAMED and length.isascii() and length.isdigit():
            entrance.count_bytes(principal, int(length[:20]))

    def _needs_key(self, method: str, path: str) -> bool:
        inside = path in ("/api", "/v1") or path.startswith(("/api/", "/v1/"))
        return inside and not self.is_signed(method, path)

    async def _principal(self, headers: Headers, address: str, *, counted: bool) -> Principal:
        authorizations = headers.getlist("authorization")
        if len(authorizations) > 1:
            raise Unauthenticated("More than one Authorization header.")
        authorization = authorizations[0] if authorizations else None
        try:
            principal = await self.services.authenticate(authorization, address)
        except Unauthenticated:
            if authorization is None or authorization[:6].lower() != "basic ":  # passwords have their own limits
                self.services.limiter.check(address, authenticated=False)
            raise
        if counted:
            self.services.limiter.check(address, authenticated=True)
        return principal


def client_address(scope: Scope) -> str:
    """The peer's address; empty for a socket that has none."""
    client = scope.get("client")
    return str(client[0]) if client else ""
