"""A limit for each client address: for those who show no valid key, and for the control API.

Guessing keys or passwords costs us a lookup or a slow hash each; this bounds how many one address may cause. Memory is bounded
too: beyond the capacity the address that was seen longest ago is forgotten, which gives it a fresh minute.
"""

from collections import OrderedDict

from penstock.domain.clock import Clock
from penstock.domain.errors import RateLimited
from penstock.serving.admission.networks import subject


class AddressLimiter:
    """Two budgets an address, counted apart, so that a failing client cannot shut out an authenticated one behind the same NAT."""

    def __init__(
        self,
        clock: Clock,
        unauthenticated_per_minute: int = 120,
        api_per_minute: int = 1200,
        capacity: int = 100_000,
    ) -> None:
        self._now = clock.monotonic
        self._unauthenticated = _Arrivals(unauthenticated_per_minute, capacity)
        self._api = _Arrivals(api_per_minute, capacity)

    def __len__(self) -> int:
        return len(self._unauthenticated) + len(self._api)

    def check(self, address: str, authenticated: bool) -> None:
        """Count one call. Raises RateLimited. An IPv6 address counts as its /64."""
        arrivals = self._api if authenticated else self._unauthenticated
        wait = arrivals.take(subject(address), self._now())
        if wait:
            what = "calls" if authenticated else "calls without a valid API key"
            raise RateLimited(f"Too many {what} from this address.", retry_after_seconds=wait)


class _Arrivals:
    """GCRA: for every address the time at which it will have used up what it took; at most a minute ahead."""

    def __init__(self, per_minute: int, capacity: int) -> None:
        self._interval = 60.0 / max(1, per_minute)
        self._capacity = capacity
        self._until: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def take(self, who: str, now: float) -> float:
        """0.0, or the seconds to wait."""
        until = max(self._until.get(who, now), now) + self._interval
        ahead = until - now - 60.0
        if ahead > 1e-6:
            self._until.move_to_end(who)
            return ahead
        self._until[who] = until
        self._until.move_to_end(who)
        if len(self._until) > self._capacity:
            self._until.popitem(last=False)
        return 0.0
