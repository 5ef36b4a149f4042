"""What is around every answer: a request id, headers that protect a browser, the log line, and a shape for what went wrong."""

import re
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.edge.layers.cross_origin import CrossOrigin
from penstock.edge.layers.problems import answer, as_error
from penstock.edge.layers.services import ControlServices

_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_POLICY_VIOLATION = 1008
"""The close code of a WebSocket that breaks a rule of the server (RFC 6455, 7.4.1)."""
_QUIET = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
_PROTECTION = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "referrer-policy": "no-referrer",
}
log = structlog.stdlib.get_logger("penstock.control")


class Envelope:
    """The outermost layer of the application. An exception ends here: as an answer, and under its request id in the log.

    Only HTTP passes, and the server's own lifespan events. The layers behind this one check HTTP requests alone: a scope of
    another type would reach the routes without a key.
    """

    def __init__(self, app: ASGIApp, services: ControlServices) -> None:
        self.app = app
        self.services = services
        self._allowed_origins = CrossOrigin(services.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._other_than_http(scope, receive, send)
            return
        request_id = self._request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        sender = _Sender(send, request_id, scope["path"], self._cross_origin(scope))
        started = self.services.clock.monotonic()
        try:
            await self.app(scope, receive, sender)
        except ClientDisconnect:
            log.info("client_disconnected", request_id=request_id, method=scope["method"])
        except Exception as exception:
            await self._refuse(exception, scope, receive, sender)
        finally:
            self._note(scope, sender, self.services.clock.monotonic() - started)

    def _cross_origin(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        if self._allowed_origins.off:
            return []
        return self._allowed_origins.headers(next((value for name, value in scope["headers"] if name == b"origin"), None))

    async def _other_than_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ValueError for a type that has no way to refuse; a WebSocket is closed before it is accepted (HTTP 403)."""
        kind = scope["type"]
        if kind == "lifespan":
            await self.app(scope, receive, send)
            return
        log.warning("scope_refused", type=kind, path=scope.get("path", ""))
        if kind != "websocket":
            raise ValueError(f"This application does not serve the ASGI scope type {kind!r}.")
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "WebSockets are not served here."})

    def _request_id(self, headers: Headers) -> str:
        given = headers.get("x-request-id", "")
        return given if _CLIENT_REQUEST_ID.fullmatch(given) else self.services.next_request_id(self.services.clock.time())

    async def _refuse(self, exception: Exception, scope: Scope, receive: Receive, sender: "_Sender") -> None:
        error = as_error(exception, scope["path"])
        if error.status == 500:
            log.error("request_failed", request_id=sender.request_id, method=scope["method"], path=scope["path"], exc_info=exception)
        if sender.status:
            raise exception  # half an answer has left; only cutting the connection tells the client
        await answer(error, scope["path"], sender.request_id)(scope, receive, sender)

    def _note(self, scope: Scope, sender: "_Sender", seconds: float) -> None:
        """The log line. The id is not bound to the context: tasks that a request starts, such as a link to a worker, outlive it."""
        status = sender.status
        if scope["path"] in _QUIET:
            return
        route = getattr(scope.get("route"), "path", "")
        self.services.metrics.control_request(scope["method"], route, status)
        slow = seconds >= self.services.slow_request_seconds
        routine = status < 400 and (not self.services.log_calls or route.endswith("/heartbeat"))
        write = log.warning if slow else log.debug if routine else log.info
        write(
            "slow_request" if slow else "request",
            request_id=sender.request_id,
            **_who(scope),
            method=scope["method"],
            route=route,
            status=status,
            seconds=round(seconds, 6),
        )


def _who(scope: Scope) -> dict[str, str]:
    principal = scope["state"].get("principal")
    if principal is None:
        return {}
    return {"organisation": principal.org_id, "key_id": principal.actor_id, "plan": principal.plan.name}


class _Sender:
    """Adds the headers that every answer has, and remembers the status."""

    def __init__(self, send: Send, request_id: str, path: str, cross_origin: list[tuple[bytes, bytes]]) -> None:
        self.send = send
        self.cross_origin = cross_origin
        self.request_id = request_id
        self.private = path.startswith(("/api", "/v1"))
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add_headers(message)
        await self.send(message)

    def _add_headers(self, message: dict[str, Any] | Message) -> None:
        headers = MutableHeaders(scope=message)
        headers["x-request-id"] = self.request_id
        for name, value in _PROTECTION.items():
            headers.setdefault(name, value)
        if self.private:
            headers.setdefault("cache-control", "no-store")
        message["headers"] = [*message["headers"], *self.cross_origin]
