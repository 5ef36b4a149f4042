"""How many requests may be on their second try: a share of those in flight, so that retries cannot feed an outage."""


class RetryBudget:
    """Envoy's retry budget: retries in flight <= max(floor, share x requests in flight)."""

    __slots__ = ("_floor", "_share", "active", "retrying")

    def __init__(self, share: float = 0.2, floor: int = 3) -> None:
        self._share = share
        self._floor = floor
        self.active = 0
        self.retrying = 0

    def take(self) -> bool:
        """One more retry, when the budget has room; whoever took it gives it back when the request is over."""
        if self.retrying >= max(self._floor, int(self.active * self._share)):
            return False
        self.retrying += 1
        return True

    def give_back(self, count: int) -> None:
        self.retrying -= count
