"""Whole numbers as the bytes that a head shows. Formatting costs more than most steps of a request; two or three look-ups do not."""

from typing import Final

_FIRST: Final = tuple(b"%d" % number for number in range(1000))
_REST: Final = tuple(b"%03d" % number for number in range(1000))


def decimal(number: int) -> bytes:
    """`b"%d" % number`."""
    if number < 0 or number >= 1_000_000_000:
        return b"%d" % number
    if number < 1000:
        return _FIRST[number]
    if number < 1_000_000:
        return b"%b%b" % (_FIRST[number // 1000], _REST[number % 1000])
    thousands = number // 1000
    return b"%b%b%b" % (_FIRST[thousands // 1000], _REST[thousands % 1000], _REST[number % 1000])
