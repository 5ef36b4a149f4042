"""A body is read whole, within a size and a depth, before anything interprets it."""

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.domain.errors import BadRequest, InvalidJson, TooLarge
from penstock.edge.layers.doorkeeper import STREAMED, IsCall
from penstock.wire.chat.requests import MOST_KEYS, deeper_than, more_keys_than

_MOST_CONTROL_KEYS = 400_000
"""Ten thousand tasks in one call have so many."""
_SMALL_BODY_BYTES = 1024 * 1024
"""A join names the worker's models; no more is read from a caller who has not yet shown who it is."""


class BodyLimit:
    """Raises TooLarge, and InvalidJson for what nests too deeply; the application then reads the body from memory.

    `is_small`: calls of which no more than 1 MiB is read.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_depth: int, is_small: IsCall) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.max_depth = max_depth
        self.is_small = is_small

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS") or _is_streamed(scope):
            await self.app(scope, receive, send)
            return
        small = self.is_small(scope["method"], scope["path"])
        limit = min(self.max_bytes, _SMALL_BODY_BYTES) if small else self.max_bytes
        body = await _read(scope, receive, limit)
        if deeper_than(body, self.max_depth):
            raise InvalidJson(f"The JSON in the request body is nested deeper than {self.max_depth} levels.")
        if more_keys_than(body, most := MOST_KEYS if scope["path"].startswith("/v1/") else _MOST_CONTROL_KEYS):
            raise InvalidJson(f"The JSON in the request body has more than {most} fields.")
        await self.app(scope, _Replay(body, receive), send)


def _is_streamed(scope: Scope) -> bool:
    return (scope["method"], scope["path"]) in STREAMED


async def _read(scope: Scope, receive: Receive, limit: int) -> bytes:
    declared = Headers(scope=scope).get("content-length", "0")
    if not declared.isascii() or not declared.isdigit():
        raise BadRequest("Content-Length is not a number.")
    if int(declared[:20]) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise _too_large(limit)
        more = message.get("more_body", False)
    return b"".join(pieces)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request body is larger than {limit} bytes.")


class _Replay:
    """`receive` for the application: the body once, then the messages of the connection."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}
