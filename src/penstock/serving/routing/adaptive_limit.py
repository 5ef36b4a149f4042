"""How many requests one worker gets at the same time: found out from how fast it makes tokens, after Netflix's Gradient2."""

from dataclasses import dataclass
from enum import IntEnum


class LatencyKind(IntEnum):
    """What was timed; samples of one kind are compared with their own kind alone. Never a total latency: that grows with the answer."""

    FIRST_TOKEN = 0
    """Seconds to the first token, for each uncached token of the prompt."""
    OUTPUT_TOKEN = 1
    """Seconds between two tokens of a stream."""
    WHOLE = 2
    """Seconds for each token of a reply that came in one piece."""


@dataclass(frozen=True, slots=True)
class LimitRules:
    """Parameters of Gradient2, described in docs/explanation/routing.md."""

    smoothing: float = 0.2
    """Weight of a new estimate of the limit."""
    tolerance: float = 1.5
    """A worker may be this many times slower than it usually is before its limit falls."""
    headroom: int = 4
    """Requests that may wait inside the worker."""
    window: int = 600
    """Samples in the long average."""
    short_window: int = 10
    """Samples in the short one: a single slow request says too little."""
    least: int = 1


class AdaptiveLimit:
    """One worker's limit. Starts at its slots and never exceeds them; O(1) for a sample.

    L <- 0.8 L + 0.2 (L clamp(1.5 long / short, 0.5, 1) + 4). While less than half of the limit is in use nothing is learned: a worker with
    little to do says nothing about what it could take.
    """

    __slots__ = ("_long", "_most", "_rules", "_seen", "_short", "value")

    def __init__(self, most: int, rules: LimitRules) -> None:
        self._rules = rules
        self._most = most
        self._long = [0.0, 0.0, 0.0]
        self._short = [0.0, 0.0, 0.0]
        self._seen = [0, 0, 0]
        self.value = float(most)

    def note(self, kind: LatencyKind, seconds_per_token: float, in_flight: int) -> None:
        """A request was served at this pace while `in_flight` requests, itself included, were at the worker."""
        if in_flight * 2 < self.value:
            return
        rules = self._rules
        seen = self._seen[kind] = self._seen[kind] + 1
        long = self._long[kind]
        long += (seconds_per_token - long) * max(1 / seen, 2 / (rules.window + 1))
        short = self._short[kind]
        short += (seconds_per_token - short) * max(1 / seen, 2 / (rules.short_window + 1))
        if long > 2 * short:
            # It was slow for a long time and is not any more: the old days are forgotten sooner.
            long *= 0.95
        self._long[kind], self._short[kind] = long, short
        gradient = 1.0 if short <= 0.0 else max(0.5, min(1.0, rules.tolerance * long / short))
        self._move(self.value * gradient + rules.headroom)

    @property
    def reading_seconds(self) -> float:
        """To the first token, for each uncached token of a prompt, as it was of late; 0: not known."""
        return self._short[LatencyKind.FIRST_TOKEN]

    def refused(self, in_flight: int) -> None:
        """The worker said that it is full: it can take less than what it has."""
        self.value = max(float(self._rules.least), min(self.value, float(in_flight)) * 0.9)

    def resize(self, most: int) -> None:
        """Its slots were edited; a limit that was at the old ones goes along."""
        self.value = float(most) if self.value >= self._most else min(self.value, float(most))
        self._most = most

    def _move(self, estimate: float) -> None:
        smoothing = self._rules.smoothing
        moved = self.value * (1 - smoothing) + estimate * smoothing
        self.value = max(float(self._rules.least), min(float(self._most), moved))
