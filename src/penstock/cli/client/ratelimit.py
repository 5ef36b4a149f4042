"""Rate limits as the answers' headers tell them, and waiting for one to pass."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from penstock.cli.exits import RequestRefused
from penstock.cli.output.moments import spoken

_SHORTEST_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LimitState:
    """What is left of one limit. `reset` is the header's own duration, such as `6m0s`."""

    name: str
    limit: int
    remaining: int
    reset: str

    def __str__(self) -> str:
        return f"{self.remaining:,} of {self.limit:,} {self.name} left" + (f" (full in {self.reset})" if self.reset else "")


def limits_of(headers: Mapping[str, str]) -> tuple[LimitState, ...]:
    """From `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; a limit that is not told is left out."""
    found = (_limit(headers, name) for name in ("requests", "tokens"))
    return tuple(state for state in found if state is not None)


def _limit(headers: Mapping[str, str], name: str) -> LimitState | None:
    try:
        limit, remaining = (int(headers[f"x-ratelimit-{part}-{name}"]) for part in ("limit", "remaining"))
    except (KeyError, ValueError):
        return None
    return LimitState(name, limit, remaining, headers.get(f"x-ratelimit-reset-{name}", ""))


def wait_seconds(refused: RequestRefused) -> float | None:
    """How long the gateway asks us to wait; None when it is not a limit, or one that waiting does not lift."""
    if refused.status != 429 or refused.error.retry is False or refused.error.retry_after_seconds is None:
        return None
    return max(_SHORTEST_WAIT_SECONDS, refused.error.retry_after_seconds)


def count_down(seconds: float, sleep: Callable[[float], None]) -> None:
    """Wait, and say so: once a second on a terminal, once elsewhere."""
    if not sys.stderr.isatty():
        print(f"waiting {spoken(seconds)}", file=sys.stderr, flush=True)
        sleep(seconds)
        return
    left = seconds
    while left > 0:
        print(f"\rwaiting {spoken(left)} (Ctrl-C stops) \x1b[K", end="", file=sys.stderr, flush=True)
        sleep(min(1.0, left))
        left -= 1.0
    print("\r\x1b[K", end="", file=sys.stderr, flush=True)
