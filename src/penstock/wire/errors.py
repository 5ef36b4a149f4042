"""An error as a caller reads it: OpenAI's JSON shape, its headers, and the error event that ends a broken stream."""

import math

import msgspec

from penstock.domain.errors import PenstockError

LONGEST_RETRY_AFTER_SECONDS = 60.0
"""The Node SDK ignores a longer delay and the Python SDK gives up above 120 s; beyond it we say `x-should-retry: false`."""


def error_body(error: PenstockError) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`."""
    return msgspec.json.encode(
        {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}},
    )


def error_event(error: PenstockError) -> bytes:
    """The last event of a stream that failed after its status line had left."""
    return b"data: " + error_body(error) + b"\n\n"


def error_headers(error: PenstockError) -> bytes:
    """Header lines that steer the SDKs' retries, each with its CRLF."""
    retry, delay = error.retry, error.retry_after_seconds
    lines = []
    if delay is not None and delay > LONGEST_RETRY_AFTER_SECONDS:
        retry = False
    if delay is not None and math.isfinite(delay):
        lines.append(f"retry-after: {max(1, math.ceil(delay))}\r\nretry-after-ms: {max(1, math.ceil(delay * 1000))}\r\n")
    if retry is not None:
        lines.append(f"x-should-retry: {'true' if retry else 'false'}\r\n")
    if error.status == 401:
        lines.append('www-authenticate: Bearer realm="penstock"\r\n')
    return "".join(lines).encode("ascii")
