"""How long a task rests before it is tried again: exponential, with full jitter.

Full jitter (a uniform draw between zero and the bound) spreads a crowd that failed together best; see M. Brooker, "Exponential
Backoff And Jitter", 2015.
"""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """The bound doubles with every attempt, from `first_seconds` up to `longest_seconds`."""

    first_seconds: float
    longest_seconds: float

    def bound(self, attempt: int) -> float:
        """The longest rest after the attempt of that number; the first attempt is 1."""
        doublings = min(max(attempt - 1, 0), 64)
        return min(self.longest_seconds, self.first_seconds * 2.0**doublings)

    def seconds(self, attempt: int, random: Random) -> float:
        return random.uniform(0.0, self.bound(attempt))
