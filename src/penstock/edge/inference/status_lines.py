"""Ready-made status lines."""

from http import HTTPStatus
from typing import Final


def _line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


STATUS_LINES: Final = {status: _line(status) for status in range(100, 600)}
