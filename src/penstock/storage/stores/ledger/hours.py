"""Which whole hours, and which parts of an hour, a span of time consists of."""

from dataclasses import dataclass
from datetime import UTC, datetime

from penstock.storage.stores.ledger.rollup import HOUR_SECONDS
from penstock.storage.stores.ledger.rollup import hour as _hour

# Unix seconds that every database and calendar can hold; nothing happened outside.
_FIRST, _LAST = 0.0, 253_402_300_799.0


Edge = tuple[float, float, int]
"""A part of an hour: since (included), until (excluded), the hour."""


@dataclass(frozen=True, slots=True)
class Span:
    first_hour: int | None
    """The first whole hour; None: from the beginning."""
    end_hour: int | None
    """The hour after the last whole one; None: to the end."""
    edges: tuple[Edge, ...]


def span(since: float | None, until: float | None) -> Span:
    """Split a time range into whole hours, of which there are sums, and parts of an hour at its edges."""
    since, until = _held(since), _held(until)
    if since is not None and until is not None:
        if since >= until:
            return Span(0, 0, ())
        if _hour(since) == _hour(until):
            return Span(0, 0, ((since, until, _hour(since)),))
    first = end = None
    edges = []
    if since is not None:
        first = _hour(since)
        if since > first * HOUR_SECONDS:
            edges.append((since, float((first + 1) * HOUR_SECONDS), first))
            first += 1
    if until is not None:
        end = _hour(until)
        if until > end * HOUR_SECONDS:
            edges.append((float(end * HOUR_SECONDS), until, end))
    return Span(first, end, tuple(edges))


def day_name(day: int) -> str:
    """`YYYY-MM-DD` of a day since the Unix epoch."""
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def _held(time: float | None) -> float | None:
    return None if time is None else min(max(time, _FIRST), _LAST)
