"""Bodies that a server compressed unasked."""

import zlib

_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


class BadEncoding(Exception):
    """It is not compressed as its header says, or in a way that is not known here, or too large."""


class Inflater:
    """One body, piece by piece."""

    __slots__ = ("_largest", "_stream")

    def __init__(self, encoding: bytes, largest_piece_bytes: int) -> None:
        """Raises BadEncoding for an encoding that is not known."""
        window = _WINDOWS.get(encoding.strip().lower())
        if window is None:
            raise BadEncoding(f"the content encoding {encoding[:40]!r}, which was not asked for")
        self._stream = zlib.decompressobj(window)
        self._largest = largest_piece_bytes

    def feed(self, data: bytes) -> bytes:
        """Raises BadEncoding."""
        try:
            out = self._stream.decompress(data, self._largest)
        except zlib.error as error:
            raise BadEncoding(f"broken compressed data: {error}") from None
        if self._stream.unconsumed_tail:
            raise BadEncoding(f"more than {self._largest} bytes in one compressed piece")
        return out


def inflated(body: bytes, encoding: bytes, largest_bytes: int) -> bytes:
    """A whole body. Raises BadEncoding."""
    return Inflater(encoding, largest_bytes).feed(body)


def encoding_of(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The content encoding of an answer; empty: none."""
    for name, value in headers:
        if name == b"content-encoding":
            return b"" if value.strip().lower() == b"identity" else value
    return b""


def plain_beginning(body: bytes, encoding: bytes, most_bytes: int) -> bytes:
    """What can be read of the beginning of a body that may be cut or broken; the body itself when nothing can."""
    window = _WINDOWS.get(encoding.strip().lower())
    if window is None:
        return body
    try:
        return zlib.decompressobj(window).decompress(body, most_bytes)
    except zlib.error:
        return body
