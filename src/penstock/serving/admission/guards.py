"""Further steps of the gate, such as budgets: each may refuse a request, or hold something for it until it ends."""

from collections.abc import Sequence
from typing import Protocol

from penstock.domain.call import Demand
from penstock.domain.principal import Principal
from penstock.domain.tokens import TokenCount


class Hold(Protocol):
    """What is held for one request. Exactly one of the methods is called, once, however the request ends. They do not raise."""

    def settle(self, count: TokenCount, /) -> None:
        """The request was answered, at least in part, and used these tokens."""
        ...

    def release(self) -> None:
        """The request used nothing: it was refused, failed, or its client left before an answer began."""
        ...


class Guard(Protocol):
    """A step between requests/min and tokens/min: a plain call on what is in memory, that may not wait."""

    def admit(self, principal: Principal, demand: Demand, now: float, /) -> Hold | None:
        """What it holds for the request; None: nothing. Raises the PenstockError that the caller shall see. `now`: monotonic seconds."""
        ...


NO_HOLDS: tuple[Hold, ...] = ()


def hold_all(guards: Sequence[Guard], principal: Principal, demand: Demand, now: float) -> tuple[Hold, ...]:
    """Ask each guard. When one refuses, those before it let go of what they hold."""
    holds: list[Hold] = []
    try:
        for guard in guards:
            hold = guard.admit(principal, demand, now)
            if hold is not None:
                holds.append(hold)
    except BaseException:
        release_all(holds)
        raise
    return tuple(holds)


def release_all(holds: Sequence[Hold]) -> None:
    for hold in holds:
        hold.release()
