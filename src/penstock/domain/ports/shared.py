"""What gateways share and may forget. Plain calls: a shared implementation answers from what it has leased beforehand."""

from typing import Protocol


class Bucket(Protocol):
    """A rate limit of one subject. Synchronous: a shared implementation answers from quota that it has leased beforehand."""

    limit: int
    """Units a minute."""
    forgotten: bool
    """The quotas have let go of it: there is, or will be, another of its name. Whoever keeps one looks here before using it."""

    def reserve(self, amount: float, now: float) -> float:
        """Take `amount` units and return 0.0, or take nothing and return the seconds to wait; inf: never possible."""
        ...

    def settle(self, amount: float) -> None:
        """Give back `amount` reserved units that were not used (negative: take units that were used beyond them)."""
        ...

    def remaining(self, now: float) -> int:
        """Whole units that could be taken at once."""
        ...

    def reset_seconds(self, now: float) -> float:
        """Until the bucket is full again."""
        ...

    def standing(self, now: float) -> tuple[int, float]:
        """`remaining` and `reset_seconds` in one go: every answer tells both."""
        ...


class Quotas(Protocol):
    """Buckets by name, the same object for the same name as long as it is in use."""

    def bucket(self, name: str, per_minute: int) -> Bucket:
        """A changed limit takes effect on the existing bucket."""
        ...
