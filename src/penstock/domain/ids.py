"""Identifiers: `<prefix>_<26 lower-case characters>`, sortable by time of creation."""

import os
import time
from typing import Final

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_LAST_DIGITS: Final = tuple(f"{number:02x}" for number in range(256))


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
        self._counter = int.from_bytes(os.urandom(2), "big")
        self._millisecond = -1
        self._beginning = ""

    def next(self, now: float) -> str:
        """`req_` and 30 hexadecimal digits; `now` is the wall clock in seconds."""
        millisecond = int(now * 1000)
        self._counter += 1
        last = self._counter & 0xFF
        if last == 0 or millisecond != self._millisecond:
            # What many ids begin with is written once for all of them.
            self._millisecond = millisecond
            self._beginning = f"req_{millisecond:012x}{self._process}{self._counter >> 8 & 0xFFFFFF:06x}"
        return self._beginning + _LAST_DIGITS[last]


class TaskIds:
    """Ids of tasks: `task_` and 16 hexadecimal digits, a 63-bit number that rises with time; stores keep the number alone.

    42 bits of milliseconds, 10 bits drawn once for each process, 11 bits of a counter. A burst borrows from the milliseconds to
    come. Two processes that drew the same bits can make the same id: the store refuses the second (Conflict), and its caller
    makes new `TaskIds` and tries again.
    """

    def __init__(self) -> None:
        self._process = (int.from_bytes(os.urandom(2), "big") & 0x3FF) << 11
        self._millisecond = 0
        self._counter = 0

    def next(self, now: float) -> str:
        """`now` is the wall clock in seconds."""
        millisecond = int(now * 1000)
        if millisecond > self._millisecond:
            self._millisecond, self._counter = millisecond, 0
        elif self._counter == 0x7FF:
            self._millisecond, self._counter = self._millisecond + 1, 0
        else:
            self._counter += 1
        return task_id(self._millisecond << 21 | self._process | self._counter)


def task_id(number: int) -> str:
    return "task_%016x" % number  # noqa: UP031 - twice as fast as an f-string here


def task_number(text: str) -> int | None:
    """The number that a task's id stands for; None when it is not one."""
    digits = text.removeprefix("task_")
    if len(digits) != 16 or len(text) != 21 or not digits.isalnum():
        return None
    try:
        number = int(digits, 16)
    except ValueError:
        return None
    return number if number < 1 << 63 and digits == digits.lower() else None
