"""What the first line and the framing headers of a request may be, beyond what the parser checks."""

import re
from collections.abc import Iterable

from penstock.domain.errors import BadHttp, MethodNotAllowed, NotSupported, PenstockError

_ABSOLUTE = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)
_SLASHES = re.compile(rb"/{2,}")


def origin_form(target: bytes, root_path: bytes = b"") -> bytes:
    """A request target as the routes know it.

    Without scheme and host (a client that takes us for its proxy sends them, RFC 9112, 3.2.2), without the path under which a proxy serves
    us, and under `/v1` without repeated and closing slashes: people write base URLs with and without them.
    """
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            return target
        target = target[absolute.end() :]
        if not target.startswith(b"/"):
            target = b"/" + target
    path, question, query = target.partition(b"?")
    if root_path and (path == root_path or path.startswith(root_path + b"/")):
        path = path[len(root_path) :] or b"/"
    return plain_path(path) + question + query


def plain_path(path: bytes) -> bytes:
    plain = _SLASHES.sub(b"/", path).rstrip(b"/")
    return plain if plain == b"/v1" or plain.startswith(b"/v1/") else path


def unusable_target(method: bytes) -> PenstockError:
    """Why a target that is no path cannot be served."""
    if method == b"CONNECT":
        return MethodNotAllowed("This server is not a proxy: it does not allow CONNECT.")
    return BadHttp("The target of the request must be a path.")


def unusable_framing(codings: Iterable[bytes], version: str) -> PenstockError | None:
    """Why a body with these values of `transfer-encoding` cannot be read. An intermediary might see another end of it (RFC 9112, 6.1)."""
    if version == "1.0":
        return BadHttp("HTTP/1.0 has no header 'transfer-encoding'.")
    named = b",".join(codings).strip().lower()
    if not named.endswith(b"chunked"):
        return BadHttp("The end of the request's body cannot be found: the last transfer-encoding must be 'chunked'.")
    if named != b"chunked":
        return NotSupported("The only transfer-encoding of a request is 'chunked'; compress a body with 'content-encoding'.", retry=False)
    return None
