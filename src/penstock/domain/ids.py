"""Identifiers: `<prefix>_<26 lower-case characters>`, sortable by time of creation."""

import itertools
import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u


def _base32(value: int, width: int) -> str:
    digits = []
    for _ in range(width):
        digits.append(_ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(digits))


def new_id(prefix: str) -> str:
    """A fresh id: 48 bits of milliseconds, then 80 random bits, as ULID lays them out."""
    return f"{prefix}_{_base32(int(time.time() * 1000), 10)}{_base32(int.from_bytes(os.urandom(10), 'big'), 16)}"


class RequestIds:
    """Request ids for one process without a system call each: time, the process's random number, a counter."""

    def __init__(self) -> None:
        self._process = os.urandom(5).hex()
        self._counter = itertools.count(int.from_bytes(os.urandom(2), "big"))
        self._millisecond = -1
        self._beginning = ""

    def next(self, now: float) -> str:
        """`req_` and 30 hexadecimal digits; `now` is the wall clock in seconds."""
        millisecond = int(now * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._beginning = f"req_{millisecond:012x}{self._process}"
        return "%s%08x" % (self._beginning, next(self._counter) & 0xFFFFFFFF)  # noqa: UP031 - twice as fast as an f-string here
