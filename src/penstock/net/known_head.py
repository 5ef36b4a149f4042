"""A head that comes again: most clients and workers begin every message on a connection with the same bytes, but for the body's length.

The parser judges the first of them. What is the same, byte for byte, is judged the same, so that nothing is parsed twice and no second
parser can disagree with the first; everything else goes to the parser as ever.
"""

import re
from collections.abc import Sequence
from typing import Final

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?(?=[0-9]{1,8}\r\n)")
_MOST_DIGITS: Final = 8
_LESSONS: Final = 4
"""Heads in a row that never came again, after which no more are learned: this peer's heads all differ."""


class KnownHead:
    """The last head of one direction of a connection that might come again."""

    __slots__ = ("_after", "_after_size", "_before", "_digits_at", "_lessons")

    def __init__(self) -> None:
        self._before = b"\0"
        """The head up to the digits of its content-length; as long as nothing is known, something that begins no message."""
        self._after = b""
        self._after_size = 0
        self._digits_at = 1
        self._lessons = _LESSONS

    def body(self, data: bytes) -> bytes | None:
        """The body, when `data` is the known head with any length, and all of that body, and nothing else."""
        begin, size = self._digits_at, len(data)
        # Compiled, slices and comparisons cost a fraction of `startswith` and `find`; so does counting the digits here.
        if data[:begin] != self._before:
            return None
        stop, length = begin, 0
        last = min(size, begin + _MOST_DIGITS + 1)
        while stop < last:
            digit = data[stop] - 48
            if digit < 0 or digit > 9:
                break
            length = length * 10 + digit
            stop += 1
        start = stop + self._after_size
        if stop == begin or length != size - start or data[stop:start] != self._after:
            return None
        self._lessons = _LESSONS
        return data[start:]

    def learn(self, data: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Remember the head that `data` begins with, in which the parser found `headers`; False: it is none to be remembered.

        It has a length, which is that of what follows, and a line for each header: what a parser may read in more than one way is read
        by the parser each time.
        """
        if not self._lessons:
            return False
        self._lessons -= 1
        end = data.find(b"\r\n\r\n")
        lines = data[:end].split(b"\r\n")
        found = _LENGTH.search(data, 0, end + 2)
        if end < 0 or found is None or len(lines) != len(headers) + 1 or any(b"\n" in line or b"\r" in line for line in lines):
            return False
        stop = data.index(b"\r", found.end())
        if int(data[found.end() : stop]) != len(data) - end - 4:
            return False
        self._before = data[: found.end()]
        self._digits_at = found.end()
        self._after = data[stop : end + 4]
        self._after_size = len(self._after)
        return True
