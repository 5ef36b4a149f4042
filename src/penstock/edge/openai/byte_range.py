"""The `Range` header, as far as it is of use here: one range of bytes (RFC 9110, 14.1)."""

import re

from penstock.domain.errors import RangeNotSatisfiable

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def asked_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and length of what is asked for; None: everything, also for what is not a single range. Raises RangeNotSatisfiable."""
    match = _ONE_RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        start = size - length
    else:
        start = int(first)
        if last and int(last) < start:
            return None
        length = (min(int(last), size - 1) if last else size - 1) - start + 1
    if start >= size or length <= 0:
        raise RangeNotSatisfiable(f"The file has {size} bytes.")
    return start, length
