"""How many replicas: Knative's pod autoscaler (KPA), as AIBrix applies it to inference, on tokens instead of requests.

    demand = tokens that run on ready replicas + tokens that wait, as means over 60 s and over 6 s
    wanted = demand / target, rounded up; within a tenth of what there is: what there is

A short mean that wants twice the replicas that are ready, while a request waits, is a panic: nothing is stopped for a minute, and the short
mean decides. Upwards at most twice as many in six seconds; downwards only what would have been enough for five minutes. So a step is
followed within seconds, and what goes up does not come down before it has been idle for long. What came down and was needed again soon
waits twice as long the next time: at a border between two sizes, noise alone would go back and forth.
"""

import math
from dataclasses import dataclass

from penstock.capacity.observation import Observation, ReplicaLoad, ReplicaState
from penstock.capacity.rules import ScaleRules
from penstock.capacity.windows import Extreme, Mean
from penstock.domain.clock import Clock

_LONGER = 2.0
_READY, _STARTING = ReplicaState.READY, ReplicaState.STARTING


@dataclass(frozen=True, slots=True)
class ScalePlan:
    """What should be done now. The executor drains a replica before it stops it, and reports it as draining from then on."""

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
        self._panic_until = self._scaled_down_at = -math.inf
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

    def decide(self, observation: Observation) -> ScalePlan:
        """What should be done now, from what is observed. It also notes the observation, so call it once for each."""
        rules, now = self.rules, self._now()
        ready, starting = observation.of(_READY), observation.of(_STARTING)
        current = len(ready) + len(starting)
        demand = observation.queued_tokens + math.fsum(self._tokens(replica) for replica in ready)
        stable, panic = self._stable.note(demand, now), self._panic.note(demand, now)
        waiting = self._waiting.note(observation.queued_tokens, now) > 0.0
        if waiting and panic / rules.target_tokens >= rules.panic_factor * max(1, len(ready)):
            self._panic_until = now + rules.stable_seconds
        panicking = now < self._panic_until
        enough = max(self._needed(stable, current), min(current, self._calm_replicas(panic)))
        if panicking:
            enough = max(enough, current, self._needed(panic, current))
        wanted = self._bounded(enough, current, now)
        return ScalePlan(
            wanted, max(0, wanted - current), self._to_drain(ready, starting, max(0, current - wanted)), stable, panic, panicking=panicking
        )

    def _tokens(self, replica: ReplicaLoad) -> float:
        """A replica whose load is not known counts as busy as it should be: it causes neither a start nor a stop."""
        return self.rules.target_tokens if replica.tokens is None else replica.tokens

    def _needed(self, demand: float, current: int) -> int:
        """More than what there is when they are busier than they may be; fewer when those would be less busy than they should be."""
        exact, tolerance = demand / self.rules.target_tokens, self.rules.tolerance
        if exact > current * (1.0 + tolerance):
            return math.ceil(exact)
        return min(current, math.ceil(exact / (1.0 - tolerance)))

    def _calm_replicas(self, panic: float) -> int:
        """Replicas for which the demand of the short time is not a reason to panic: with fewer there would soon be as many again."""
        rules = self.rules
        return math.floor(panic / (rules.panic_factor * rules.target_tokens)) + 1 if panic else 0

    def _bounded(self, enough: int, current: int, now: float) -> int:
        rules = self.rules
        if not self._seen:
            # What was needed before is not known: the first decision begins with what there is.
            self._seen = True
            self._enough.note(current, now)
        fewest = self._fewest.note(current, now)
        enough = min(enough, rules.max_replicas, max(1, math.floor(rules.up_factor * fewest)))
        lately = self._enough.note(enough, now)
        # Down only to what was the most that was needed lately; up at once.
        wanted = enough if enough >= current else min(current, lately)
        wanted = min(max(wanted, rules.min_replicas), rules.max_replicas)
        self._record_direction(wanted, current, now)
        return wanted

    def _record_direction(self, wanted: int, current: int, now: float) -> None:
        longer = _LONGER * self.rules.down_after_seconds
        if wanted < current:
            self._scaled_down_at = now
            self._enough.set_window(self.rules.down_after_seconds)
        elif wanted > current and now - self._scaled_down_at < longer:
            self._enough.set_window(longer)

    def _to_drain(self, ready: list[ReplicaLoad], starting: list[ReplicaLoad], count: int) -> tuple[str, ...]:
        ready.reverse()
        newest = [*reversed(starting), *sorted(ready, key=self._tokens)]
        return tuple(replica.id for replica in newest[:count])
