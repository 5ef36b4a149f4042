"""A worker that comes back is not given everything at once: its caches are cold, and it may fall over again."""

from collections.abc import Collection

from penstock.domain.workers import WorkerState
from penstock.serving.routing.member import Member

_FIRST_SHARE = 0.1


def begin(member: Member, members: Collection[Member], now: float, seconds: float) -> None:
    """`member` has just come back (from silence, a crash or an ejection).

    It gets all of its slots at once when most of the others are away or back only just now too: then the fault was not in this worker, and
    holding everyone back would make a short outage a long one.
    """
    others = [other for other in members if other is not member and other.state is not WorkerState.DEAD]
    member.warming_since = now if others and 2 * sum(_warm(other, now, seconds) for other in others) >= len(others) else None
    member.back_since = now


def _warm(member: Member, now: float, seconds: float) -> bool:
    back = member.back_since
    return member.state is WorkerState.READY and member.ejected_until <= now and (back is None or now - back >= seconds)


def share(since: float, now: float, seconds: float) -> float:
    """Of its limit, between a tenth and all of it, rising in a straight line for `seconds`."""
    if seconds <= 0.0 or now - since >= seconds:
        return 1.0
    return _FIRST_SHARE + (1 - _FIRST_SHARE) * (now - since) / seconds
