"""How many connections are open, and how many of one address: so that no client takes all that this process may have."""

import resource
from collections import Counter

import structlog

from penstock.domain.clock import Clock
from penstock.domain.errors import Overloaded, PenstockError, RateLimited
from penstock.serving.admission.networks import subject

log = structlog.get_logger("penstock.connections")
_KEPT_FREE = 96
"""Descriptors for workers, the store, files and the journal."""
_LOG_EVERY_SECONDS = 10.0


class ConnectionCounts:
    """An IPv6 address counts as its /64."""

    def __init__(self, clock: Clock, most: int, most_of_one: int | None = None) -> None:
        """`most_of_one`: of one address; None: half of `most`."""
        self._now = clock.monotonic
        self._most = most
        self.most_of_one = most // 2 if most_of_one is None else most_of_one
        self._open: Counter[str] = Counter()
        self._total = 0
        self._refused = 0
        self._logged_at = -_LOG_EVERY_SECONDS

    @property
    def total(self) -> int:
        return self._total

    def opened(self, address: str, *, proxy: bool) -> PenstockError | None:
        """Count a connection, which `closed` ends; or why it is refused, and not counted. `proxy`: it carries the requests of many."""
        who = subject(address)
        if self._total >= self._most:
            return self._refusal(address, Overloaded("This gateway has as many connections as it can serve.", retry_after_seconds=1.0))
        if not proxy and self._open[who] >= self.most_of_one:
            sentence = f"This address has {self.most_of_one} open connections, as many as one address may have."
            return self._refusal(address, RateLimited(sentence, retry_after_seconds=1.0))
        self._open[who] += 1
        self._total += 1
        return None

    def closed(self, address: str) -> None:
        who = subject(address)
        self._total -= 1
        self._open[who] -= 1
        if not self._open[who]:
            del self._open[who]

    def _refusal(self, address: str, error: PenstockError) -> PenstockError:
        self._refused += 1
        now = self._now()
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            log.warning("connections_refused", count=self._refused, latest=address, open=self._total, reason=error.message)
            self._logged_at, self._refused = now, 0
        return error


def most_connections() -> int:
    """What the limit of open files leaves."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1_000_000
    return max(soft - _KEPT_FREE, soft // 2)
