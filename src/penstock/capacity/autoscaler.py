"""How many replicas: Knative's pod autoscaler (KPA), as AIBrix applies it to inference, on tokens instead of requests.

    demand = tokens that run on ready replicas + tokens that wait, as means over 60 s and over 6 s
    wanted = demand / target, rounded up; within a tenth of what there is: what there is

A short mean that wants twice the replicas that are ready, while somebody waits, is a panic: nothing is stopped for a minute, and the short
mean decides. Upwards at most twice as many in six seconds; downwards only what would have been enough for five minutes. So a step is
followed within seconds, and what goes up does not come down before it has been idle for long. What came down and was needed again soon
waits twice as long the next time: at a border between two sizes, noise alone would go back and forth.
"""

import math
from dataclasses import dataclass

from penstock.capacity.observed import Observation, Replica, ReplicaState
from penstock.capacity.rules import ScaleRules
from penstock.capacity.windows import Extreme, Mean
from penstock.domain.clock import Clock

_LONGER = 2.0
_READY, _STARTING = ReplicaState.READY, ReplicaState.STARTING


@dataclass(frozen=True, slots=True)
class Plan:
    """What should be done now. Whoever carries it out drains before it stops, and shows draining replicas as such from then on."""

    wanted: int
    """Replicas that are ready or starting."""
    start: int
    """So many more."""
    drain: tuple[str, ...]
    """These: starting ones first, which have nothing yet, then those with the fewest tokens."""
    stable_tokens: float
    """The demand over `stable_seconds`."""
    panic_tokens: float
    """And over `panic_seconds`."""
    panicking: bool


class Autoscaler:
    """Of one deployment; only one may act on it at a time. Ask it every second or two; nothing else happens in between."""

    def __init__(self, rules: ScaleRules, clock: Clock) -> None:
        self._now = clock.monotonic
        self._panic_until = self._came_down_at = -math.inf
        self._seen = False
        self.adopt(rules)

    def adopt(self, rules: ScaleRules) -> None:
        """Other rules, from the next decision on. What was observed is forgotten, so nothing is stopped for `down_after_seconds`."""
        self.rules = rules
        self._stable, self._panic = Mean(rules.stable_seconds), Mean(rules.panic_seconds)
        self._waiting = Mean(rules.panic_seconds)
        self._enough = Extreme(rules.down_after_seconds)
        """Replicas that would have been enough."""
        self._fewest = Extreme(rules.panic_seconds, -1)
        """Replicas that there were."""
        self._seen = False

    def decide(self, seen: Observation) -> Plan:
        """What should be done now, from what is observed. It also notes the observation, so call it once for each."""
        rules, now = self.rules, self._now()
        ready, starting = seen.of(_READY), seen.of(_STARTING)
        current = len(ready) + len(starting)
        demand = seen.queued_tokens + math.fsum(self._tokens(replica) for replica in ready)
        stable, panic = self._stable.note(demand, now), self._panic.note(demand, now)
        waiting = self._waiting.note(seen.queued_tokens, now) > 0.0
        if waiting and panic / rules.target_tokens >= rules.panic_factor * max(1, len(ready)):
            self._panic_until = now + rules.stable_seconds
        panicking = now < self._panic_until
        enough = max(self._needed(stable, current), min(current, self._calm(panic)))
        if panicking:
            enough = max(enough, current, self._needed(panic, current))
        wanted = self._bounded(enough, current, now)
        return Plan(
            wanted, max(0, wanted - current), self._leaving(ready, starting, max(0, current - wanted)), stable, panic, panicking=panicking
        )

    def _tokens(self, replica: Replica) -> float:
        """One that nobody knows the load of is taken to be as busy as it should be: it is neither started nor stopped for."""
        return self.rules.target_tokens if replica.tokens is None else replica.tokens

    def _needed(self, demand: float, current: int) -> int:
        """More than what there is when they are busier than they may be; fewer when those would be less busy than they should be."""
        exact, tolerance = demand / self.rules.target_tokens, self.rules.tolerance
        if exact > current * (1.0 + tolerance):
            return math.ceil(exact)
        return min(current, math.ceil(exact / (1.0 - tolerance)))

    def _calm(self, panic: float) -> int:
        """Replicas for which the demand of the short time is no reason to panic: with fewer there would soon be as many again."""
        rules = self.rules
        return math.floor(panic / (rules.panic_factor * rules.target_tokens)) + 1 if panic else 0

    def _bounded(self, enough: int, current: int, now: float) -> int:
        rules = self.rules
        if not self._seen:
            # Whoever begins to decide here does not know what was needed before: it begins with what there is.
            self._seen = True
            self._enough.note(current, now)
        fewest = self._fewest.note(current, now)
        enough = min(enough, rules.most, max(1, math.floor(rules.up_factor * fewest)))
        lately = self._enough.note(enough, now)
        # Down only to what was the most that was needed lately; up at once.
        wanted = enough if enough >= current else min(current, lately)
        wanted = min(max(wanted, rules.least), rules.most)
        self._note_turn(wanted, current, now)
        return wanted

    def _note_turn(self, wanted: int, current: int, now: float) -> None:
        longer = _LONGER * self.rules.down_after_seconds
        if wanted < current:
            self._came_down_at = now
            self._enough.last(self.rules.down_after_seconds)
        elif wanted > current and now - self._came_down_at < longer:
            self._enough.last(longer)

    def _leaving(self, ready: list[Replica], starting: list[Replica], count: int) -> tuple[str, ...]:
        ready.reverse()
        newest = [*reversed(starting), *sorted(ready, key=self._tokens)]
        return tuple(replica.id for replica in newest[:count])
