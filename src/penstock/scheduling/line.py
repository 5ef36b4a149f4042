"""The fair queue of one model.

Classes by weight (`turns.py`), inside a class the tenant that was served least (`tenants.py`), inside a tenant the earliest deadline. Pools
are no queues: who cannot be placed now does not hold up those that may use other slots. Each decision costs O(log n).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from penstock.domain.errors import DeadlineExceeded, Overloaded, RateLimited
from penstock.domain.principal import ServiceClass
from penstock.scheduling.drain import Drain
from penstock.scheduling.heap import Heap
from penstock.scheduling.tenants import Tenants, service
from penstock.scheduling.turns import Turn, Turns
from penstock.scheduling.waiting import Lane, Standing, Waiting

_SYSTEM, _ENTERPRISE, _PREMIUM, _FREE, _BATCH = ServiceClass

WEIGHTS: Mapping[ServiceClass, int] = MappingProxyType({_SYSTEM: 2048, _ENTERPRISE: 512, _PREMIUM: 128, _FREE: 32, _BATCH: 8})
BOUNDS: Mapping[ServiceClass, int] = MappingProxyType({_SYSTEM: 64, _ENTERPRISE: 256, _PREMIUM: 512, _FREE: 512, _BATCH: 1024})
PATIENCE_SECONDS: Mapping[ServiceClass, float] = MappingProxyType(
    {_SYSTEM: 5.0, _ENTERPRISE: 5.0, _PREMIUM: 15.0, _FREE: 30.0, _BATCH: 120.0}
)
_TURNS_BETWEEN_RESCUES = 3
"""Who has waited too long gets at most every fourth slot: in a long rush all have, and the classes' weights must still mean something."""
_NO_LONGER_THAN_SECONDS = 30.0


class Line:
    """A request that could be placed at once never comes here."""

    def __init__(self, limit: int, drain_window_seconds: float = 10.0, weights: Mapping[ServiceClass, int] = WEIGHTS) -> None:
        """`limit`: the most that may wait in any one class; each has a bound of its own too."""
        self.length = 0
        self._bounds = {each: min(limit, bound) for each, bound in BOUNDS.items()}
        self._weights = weights
        self._turns = Turns(weights)
        self._classes = {each: Tenants() for each in ServiceClass}
        self._lanes: dict[object, Lane] = {}
        self._standing: dict[Waiting, Standing] = {}
        self._ends: Heap[Standing] = Heap()
        """By the moment when nobody waits for them any more."""
        self._drain = Drain(drain_window_seconds)
        self._arrivals = 0
        self._turns_since_rescue = _TURNS_BETWEEN_RESCUES
        self._placing: Choice | None = None
        """Being offered to `place`; still noted everywhere, as often there is no slot for it."""
        self._serving = self._again = False

    def __len__(self) -> int:
        return self.length

    # coming and leaving

    def join(self, entry: Waiting, now: float) -> None:
        """Stand in line. Raises RateLimited when its class is full, DeadlineExceeded when the deadline cannot be met.

        A full class still takes a request of a tenant that has fewer in line than another, and refuses the latest of that one instead.
        """
        self._confirm()
        self.settle(entry, 0, 0)  # it comes back from a worker that did not do it
        tenants, wait = self._classes[entry.service_class], self.expected_wait(now, entry)
        displaced = None
        if tenants.length >= self._bounds[entry.service_class]:
            displaced = tenants.expendable(entry.org_id)
            if displaced is None:
                raise self._full(wait)
        if now + wait > entry.give_up_at:
            raise DeadlineExceeded("The request could not be served before its deadline.", retry_after_seconds=_retry_after(wait))
        if displaced is not None:
            self._remove(displaced)
        self._add(self._stand(entry))
        if displaced is not None:
            displaced.entry.refuse(self._full(self.expected_wait(now, displaced.entry)))

    def leave(self, entry: Waiting) -> None:
        """Nobody waits for it any more (the client left, the deadline passed)."""
        self._confirm()
        standing = self._standing.get(entry)
        if standing is not None:
            self._remove(standing)

    def overdue(self, now: float) -> list[Waiting]:
        """Takes those out whose time has passed; the caller tells them."""
        self._confirm()
        late: list[Waiting] = []
        while (standing := self._ends.first()) is not None and standing.give_up_at <= now:
            self._remove(standing)
            late.append(standing.entry)
        return late

    def empty(self) -> list[Waiting]:
        """Takes everybody out (the process is stopping)."""
        self._confirm()
        everyone = list(self._standing)
        for entry in everyone:
            self.leave(entry)
        return everyone

    # being served

    def serve(self, place: Callable[[Waiting], bool], now: float) -> None:
        """Offer those whose turn it is to `place`, until nobody who waits can be placed. False from `place`: there is no slot for it."""
        if self._serving:
            # A worker failed while its request was being placed: what that set free is given away when the request has been.
            self._again = True
            return
        self._serving = True
        try:
            self._offer(place, now)
        finally:
            self._confirm()
            self._serving = self._again = False

    def settle(self, entry: Waiting, prompt: int, completion: int) -> None:
        """What the request has really used; nothing happens to one that never stood in line."""
        if self._placing is not None:
            self._confirm()
        debt = entry.debt
        if debt is not None:
            entry.debt = None
            debt.settle(prompt, completion)

    def expected_wait(self, now: float, entry: Waiting | None = None) -> float:
        """Seconds until the whole line, or `entry` if it came now, would be served; 0 when that is not known."""
        everything = sum(tenants.tokens for tenants in self._classes.values())
        if entry is None:
            return self._drain.seconds_for(everything, now)
        own = entry.service_class
        rivals = sum(self._weights[each] for each, tenants in self._classes.items() if tenants.length and each is not own)
        ahead = self._classes[own].ahead(entry.org_id, entry.give_up_at) * (1 + rivals / self._weights[own])
        return self._drain.seconds_for(min(everything, ahead), now)

    # what an operator and a test look at

    def counters(self, service_class: ServiceClass) -> dict[str, int]:
        """The weighted tokens that each tenant of the class was served since the rush began; who is behind those is not remembered."""
        return self._classes[service_class].counters

    @property
    def deficits(self) -> dict[ServiceClass, int]:
        """The tokens that each class has been granted and not spent."""
        return dict(zip(ServiceClass, self._turns.deficits, strict=True))

    # a decision

    def _offer(self, place: Callable[[Waiting], bool], now: float) -> None:
        blocked: set[Lane] = set()
        while (choice := self._choose(now, blocked)) is not None:
            self._placing = choice
            if not place(choice.standing.entry):
                self._placing = None
                blocked.add(choice.standing.lane)
                continue
            self._confirm()
            self._drain.note(choice.standing.cost, now)
            if self._again:
                self._again = False
                blocked.clear()

    def _choose(self, now: float, blocked: set[Lane]) -> "Choice | None":
        if all(lane in blocked for lane in self._lanes.values()):
            return None
        if self._turns_since_rescue >= _TURNS_BETWEEN_RESCUES and (too_long := self._too_long(now, blocked)) is not None:
            return Choice(too_long)
        heads = {each: head for each, one in self._classes.items() if one.length and (head := one.first(blocked)) is not None}
        if not heads:
            return None
        costs = {each: head.cost for each, head in heads.items()}
        turn = self._turns.choose(costs)
        return Choice(heads[turn.winner], turn, costs)

    def _too_long(self, now: float, blocked: set[Lane]) -> Standing | None:
        found: Standing | None = None
        for lane in self._lanes.values():
            if lane in blocked or (oldest := lane.oldest.first()) is None or oldest.too_long_at > now:
                continue
            if found is None or (oldest.too_long_at, oldest.number) < (found.too_long_at, found.number):
                found = oldest
        return found

    def _confirm(self) -> None:
        """Who is being placed goes: there was a slot. Before anything else happens to the line: it may fail at once and come back."""
        choice, self._placing = self._placing, None
        if choice is None:
            return
        standing, turn = choice.standing, choice.turn
        standing.entry.debt = self._classes[standing.service_class].take(standing)
        self._drop(standing)
        if turn is None:
            self._turns_since_rescue = 0
        else:
            self._turns_since_rescue += 1
            self._turns.spend(turn, choice.costs)
        if not self._classes[standing.service_class].length:
            self._turns.emptied(standing.service_class)

    # what is noted where

    def _stand(self, entry: Waiting) -> Standing:
        self._arrivals += 1
        key = (entry.pools, entry.excluded)
        return Standing(
            entry,
            self._arrivals,
            self._lanes.get(key) or Lane(key),
            entry.service_class,
            entry.org_id,
            entry.give_up_at,
            entry.queued_at + PATIENCE_SECONDS[entry.service_class],
            max(entry.prompt_tokens + entry.max_tokens, 1),
            service(entry.prompt_tokens, entry.max_tokens),
        )

    def _add(self, standing: Standing) -> None:
        self._classes[standing.service_class].add(standing)
        lane = standing.lane
        self._lanes[lane.key] = lane
        lane.oldest.put(standing, (standing.too_long_at, standing.number))
        self._ends.put(standing, (standing.give_up_at, standing.number))
        self._standing[standing.entry] = standing
        self.length += 1

    def _remove(self, standing: Standing) -> None:
        tenants = self._classes[standing.service_class]
        tenants.remove(standing)
        self._drop(standing)
        if not tenants.length:
            self._turns.emptied(standing.service_class)

    def _drop(self, standing: Standing) -> None:
        lane = standing.lane
        lane.oldest.discard(standing)
        if not len(lane.oldest):
            del self._lanes[lane.key]
        self._ends.discard(standing)
        del self._standing[standing.entry]
        self.length -= 1

    def _full(self, wait: float) -> RateLimited:
        return RateLimited("The queue of this model is full.", retry_after_seconds=_retry_after(wait))


class Choice(NamedTuple):
    """Who is next, and how the classes' turns led there; no turn: it has waited too long."""

    standing: Standing
    turn: Turn | None = None
    costs: Mapping[ServiceClass, int] = MappingProxyType({})


def _retry_after(wait: float) -> float:
    return min(max(wait, 1.0), _NO_LONGER_THAN_SECONDS)


def refuse_unserved(model: str) -> Overloaded:
    """Nobody serves the model at this moment, although somebody is known to."""
    return Overloaded(f"No worker is ready to serve '{model}' at the moment.", retry_after_seconds=2.0)
