"""CORS: pages of other origins may call both lanes. One place knows which origins, and the header lines that their answers get.

A key travels in `Authorization`, which a page sets itself. There are no cookies, so that `access-control-allow-credentials` is never sent.
"""

import re
from collections.abc import Iterable, Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from penstock.domain.errors import MethodNotAllowed, PermissionDenied

EXPOSED = (
    "x-request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "ratelimit",
    "ratelimit-policy",
    "x-penstock-decision",
    "x-penstock-pool",
    "x-penstock-worker",
    "openai-processing-ms",
    "idempotent-replayed",
    "etag",
    "content-disposition",
    "content-range",
    "www-authenticate",
)
"""Headers of an answer that a script may read."""

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_PREFLIGHT_SECONDS = 7200  # the longest that Chromium keeps one
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{0,2048}")
_ANY = "*"


class CrossOrigin:
    """The origins that are allowed; none: CORS is off."""

    def __init__(self, origins: Iterable[str] = ()) -> None:
        """`origins`: `https://app.example.org`, `http://localhost:*` (any port), `https://*.example.org` (names below), `null`, `*`."""
        named = frozenset(origins)
        self.off = not named
        self._any = _ANY in named
        self._exactly = frozenset(each.encode("latin-1") for each in named if "*" not in each)
        self._patterns = tuple(_compiled(each) for each in named if "*" in each and each != _ANY)
        exposed = ", ".join(EXPOSED)
        self._exposed = f"access-control-expose-headers: {exposed}\r\n".encode("ascii")

    def allowed(self, origin: bytes | None) -> bytes:
        """The value of `access-control-allow-origin` for this value of `origin`; empty: there is none."""
        if origin is None or self.off:
            return b""
        if self._any:
            return b"*"
        known = origin in self._exactly or any(pattern.fullmatch(origin) for pattern in self._patterns)
        return origin if known else b""

    def lines(self, origin: bytes | None) -> bytes:
        """The header lines of an answer to a request with this value of `origin`, each with its CRLF."""
        allowed = self.allowed(origin)
        vary = b"" if self.off or self._any else b"vary: Origin\r\n"
        return b"access-control-allow-origin: %b\r\n%b%b" % (allowed, self._exposed, vary) if allowed else vary

    def headers(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """`lines` as ASGI has them."""
        pairs = (line.partition(b": ") for line in self.lines(origin).splitlines())
        return [(name, value) for name, _, value in pairs]


def _compiled(origin: str) -> re.Pattern[bytes]:
    """An origin with `*.` before its host, or `*` for its port."""
    text = re.escape(origin).replace(r"://\*\.", r"://[a-z0-9._-]+\.").replace(r":\*", r"(:[0-9]{1,5})?")
    return re.compile(text.encode("ascii"))


class Preflights:
    """Answers the question that a browser asks before a call (`OPTIONS` with `access-control-request-method`); no key is needed for it."""

    def __init__(self, app: ASGIApp, cross_origin: CrossOrigin) -> None:
        self.app = app
        self.cross_origin = cross_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Mapping[str, str] = Headers(scope=scope) if scope["type"] == "http" and scope["method"] == "OPTIONS" else {}
        if "access-control-request-method" not in headers or "origin" not in headers:
            await self.app(scope, receive, send)
            return
        if self.cross_origin.off:
            raise MethodNotAllowed("Pages of other origins may not call this gateway: its setting cors_origins is empty.")
        if not self.cross_origin.allowed(headers["origin"].encode("latin-1")):
            raise PermissionDenied("The gateway's setting cors_origins does not allow this origin.", retry=False)
        await send({"type": "http.response.start", "status": 200, "headers": _permissions(headers)})
        await send({"type": "http.response.body", "body": b""})


def _permissions(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    asked = headers.get("access-control-request-headers", "").encode("latin-1")
    found = [
        (b"access-control-allow-methods", _METHODS.encode("ascii")),
        (b"content-length", b"0"),
        (b"access-control-max-age", str(_PREFLIGHT_SECONDS).encode("ascii")),
        (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
    ]
    if asked and _HEADER_NAMES.fullmatch(asked):
        # Named one by one: `*` does not stand for `authorization`.
        found.append((b"access-control-allow-headers", asked))
    if headers.get("access-control-request-private-network") == "true":
        found.append((b"access-control-allow-private-network", b"true"))
    return found
