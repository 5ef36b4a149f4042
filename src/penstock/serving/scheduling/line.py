"""The fair queue of one model.

Classes by weight (`turns.py`), inside a class the tenant that was served least (`tenants.py`), inside a tenant the earliest deadline. Pools
are no queues: who cannot be placed now does not hold up those that may use other slots. Each decision costs O(log n).
"""

from collections.abc import Callable
from itertools import chain

from penstock.domain.errors import PenstockError
from penstock.domain.principal import ServiceClass
from penstock.serving.scheduling.heap import Heap
from penstock.serving.scheduling.outlook import Outlook
from penstock.serving.scheduling.refusals import full, too_late
from penstock.serving.scheduling.rules import RULES, LineRules
from penstock.serving.scheduling.tally import Shed, Tally
from penstock.serving.scheduling.tenants import Tenants
from penstock.serving.scheduling.turns import Turn, Turns
from penstock.serving.scheduling.waiting import Lane, Standing, Waiting

_BATCH = ServiceClass.BATCH
_TURNS_BETWEEN_RESCUES = 3
"""Who has waited too long gets at most every fourth slot: in a long rush all have, and the classes' weights must still mean something."""
_BY_FAR = 2.0
"""Of the time that is left: a pace is an estimate, and who was let in should not go for its noise."""
_NEVER = float("inf")

Place = Callable[[Waiting], bool]


class Line:
    """A request that could be placed at once never comes here."""

    def __init__(
        self,
        limit: int,
        drain_window_seconds: float = 10.0,
        rules: LineRules = RULES,
        chance: Callable[[], float] = lambda: 1.0,
        prefill_seconds: Callable[[int], float] = lambda tokens: 0.0,
    ) -> None:
        """`limit`: the most that may wait in any one class; each has a bound of its own too.

        `chance` draws from [0, 1) for what is shed at random (never, without one); `prefill_seconds` says how long the first token of a
        prompt of so many uncached tokens takes a worker.
        """
        self.length = 0
        self.tokens = 0
        self.tallies = [Tally() for _ in ServiceClass]
        """By class."""
        self._limit = limit
        self._chance = chance
        self._prefill_seconds = prefill_seconds
        self._turns = Turns(rules.weights)
        self._classes = [Tenants(rules.tenant_weights) for _ in ServiceClass]
        self._lanes: dict[object, Lane] = {}
        self._standing: dict[Waiting, Standing] = {}
        self._ends: Heap[Standing] = Heap()
        """By the moment when nobody waits for them any more."""
        self._outlook = Outlook(drain_window_seconds, self._classes)
        self._arrivals = 0
        self._turns_since_rescue = _TURNS_BETWEEN_RESCUES
        self._none_too_long_before = _NEVER
        self._placing: Standing | None = None
        """Being offered to `place`; still noted everywhere, as often there is no slot for it."""
        self._turn: Turn | None = None
        """How the classes' turns led to whom is being offered; None: it has waited too long."""
        self._costs = [0] * len(ServiceClass)
        self._serving = self._again = False
        self.adopt(rules)

    def __len__(self) -> int:
        return self.length

    def adopt(self, rules: LineRules) -> None:
        """Another policy: weights hold from the next decision on, bounds and patience for who comes next; who waits stays in line."""
        self._confirm()
        self.rules = rules
        self._bounds = [min(self._limit, rules.bounds[each]) for each in ServiceClass]
        self._patience = [rules.patience_seconds[each] for each in ServiceClass]
        self._turns.adopt(rules.weights)
        for tenants in self._classes:
            tenants.weights = rules.tenant_weights

    # coming and leaving

    def join(self, entry: Waiting, now: float) -> None:
        """Stand in line. Raises RateLimited when its class is full, DeadlineExceeded when the deadline cannot be met.

        A full class still takes a request of a tenant that has fewer in line than another, and refuses the latest of that one instead.
        Batch is refused at random before that, the likelier the fuller the fullest class is.
        """
        self._confirm()
        service_class = entry.service_class
        self._give_back(entry)
        if service_class is _BATCH and self._chance() < self.rules.batch_shed_probability(self.saturation):
            raise self._lost(entry, Shed.SATURATED, full(self.expected_wait(now, entry)))
        tenants = self._classes[service_class]
        displaced = None
        if tenants.length >= self._bounds[service_class]:
            displaced = tenants.expendable(entry.org_id)
            if displaced is None:
                raise self._lost(entry, Shed.FULL, full(self.expected_wait(now, entry)))
        if (late := self._too_late(entry, now)) is not None:
            raise self._lost(entry, Shed.DEADLINE, late)
        if displaced is not None:
            self._remove(displaced)
        self._add(standing := self._stand(entry))
        self._outlook.came(service_class, standing.cost, now)
        if displaced is not None:
            error = full(self.expected_wait(now, displaced.entry))
            displaced.entry.refuse(self._lost(displaced.entry, Shed.DISPLACED, error))

    def rejoin(self, entry: Waiting) -> None:
        """Back in line after its slot was taken away: it was let in once, so no bound and no deadline refuses it; it owes nothing."""
        self._confirm()
        self._give_back(entry)
        self.tallies[entry.service_class].preempted += 1
        self._add(self._stand(entry))

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
            self.shed(standing.entry, Shed.EXPIRED)
            late.append(standing.entry)
        return late

    def hopeless(self, now: float) -> list[tuple[Waiting, PenstockError]]:
        """Takes those out who would wait far past their deadlines, as others came before them or the line became slower. Nobody who is the
        next of its tenant is among them. The caller tells them."""
        self._confirm()
        soonest = self._ends.first()
        found: list[tuple[Waiting, PenstockError]] = []
        if soonest is None:
            return found
        time_left, weights = soonest.give_up_at - now, self.rules.weights
        for each, tenants in zip(ServiceClass, self._classes, strict=True):
            if not tenants.length or self._outlook.behind(each, tenants.tokens, now, weights) <= time_left:
                continue
            for standing, ahead in tenants.behind():
                wait = self._outlook.behind(each, ahead, now, weights)
                if wait > _BY_FAR * (standing.give_up_at - now):
                    found.append((standing.entry, self._lost(standing.entry, Shed.OVERTAKEN, too_late(wait))))
                    self._remove(standing)
        return found

    def empty(self) -> list[Waiting]:
        """Takes everybody out (the process is stopping)."""
        self._confirm()
        everyone = list(self._standing)
        for entry in everyone:
            self.leave(entry)
            self.shed(entry, Shed.STOPPING)
        return everyone

    def shed(self, entry: Waiting, reason: Shed) -> None:
        """Count a request that is not served, for a reason that need not be the line's own."""
        self.tallies[entry.service_class].lost(reason)

    # being served

    def serve(self, place: Place, now: float, room: Place | None = None) -> None:
        """Offer those whose turn it is to `place`, until nobody who waits can be placed. False from `place`: there is no slot for it.

        `room` says cheaply whether there may be a slot for somebody, and for all who may use the same ones, without taking it.
        """
        if self._serving:
            # A worker failed while its request was being placed: what that set free is given away when the request has been.
            self._again = True
            return
        self._serving = True
        try:
            self._offer(place, now, room)
        finally:
            self._confirm()
            self._serving = self._again = False

    def settle(self, entry: Waiting, prompt: int, completion: int) -> None:
        """What the request has really used, uncached; nothing happens to one that never stood in line."""
        if self._placing is not None:
            self._confirm()
        debt = entry.debt
        if debt is not None:
            entry.debt = None
            debt.settle(prompt, completion)

    # what an operator, a test and a refusal want to know

    def expected_wait(self, now: float, entry: Waiting | None = None) -> float:
        """Seconds until the whole line, or `entry` if it came now, would be served; 0 when that is not known."""
        if entry is None:
            return self._outlook.all(self.tokens, now)
        own = entry.service_class
        ahead = self._classes[own].ahead(entry.org_id, entry.give_up_at)
        return self._outlook.behind(own, ahead, now, self.rules.weights)

    def demand(self, output_tokens: float | None) -> int:
        """Tokens that a worker will probably compute for all of these, where an answer has so many on average (None: nobody knows)."""
        longest = _NEVER if output_tokens is None else output_tokens
        return int(sum(standing.service + min(standing.entry.max_tokens, longest) for standing in self._standing.values()))

    @property
    def saturation(self) -> float:
        """How full the fullest class is."""
        return max(tenants.length / bound for tenants, bound in zip(self._classes, self._bounds, strict=True))

    def waiting(self, service_class: ServiceClass) -> int:
        return self._classes[service_class].length

    def counters(self, service_class: ServiceClass) -> dict[str, int]:
        """The weighted tokens that each tenant of the class was served since the rush began; who is behind those is not remembered."""
        return self._classes[service_class].counters

    @property
    def deficits(self) -> dict[ServiceClass, int]:
        """The tokens that each class has been granted and not spent."""
        return dict(zip(ServiceClass, self._turns.deficits, strict=True))

    # a decision

    def _offer(self, place: Place, now: float, room: Place | None) -> None:
        blocked: set[Lane] = set()
        while (standing := self._choose(now, blocked)) is not None:
            self._placing = standing
            if not place(standing.entry):
                self._placing = None
                blocked.add(standing.lane)
                continue
            self._confirm()
            if self.length:
                self._outlook.went(standing.service_class, standing.cost, now)
            self.tallies[standing.service_class].waited(now - standing.entry.queued_at)
            if self._again:
                self._again = False
                blocked.clear()
            if room is not None and not self._any_room(room, blocked):
                return

    def _any_room(self, room: Place, blocked: set[Lane]) -> bool:
        """Most often one slot became free, and is gone now: to ask for each lane is cheaper than to choose somebody of it."""
        found = False
        for lane in self._lanes.values():
            if lane in blocked:
                continue
            if room(lane.sample):
                found = True
            else:
                blocked.add(lane)
        return found

    def _choose(self, now: float, blocked: set[Lane]) -> Standing | None:
        if not self.length or (blocked and all(lane in blocked for lane in self._lanes.values())):
            return None
        if now >= self._none_too_long_before and self._turns_since_rescue >= _TURNS_BETWEEN_RESCUES:
            too_long = self._too_long(now, blocked)
            if too_long is not None:
                self._turn = None
                return too_long
        heads: list[Standing | None] = []
        costs = self._costs
        found = False
        for each, tenants in enumerate(self._classes):
            # Most classes have not changed since the last decision.
            head = tenants.head if not blocked and tenants.head is not None else tenants.first(blocked) if tenants.length else None
            heads.append(head)
            if head is None:
                costs[each] = 0
            else:
                costs[each] = head.cost
                found = True
        if not found:
            return None
        self._turn = turn = self._turns.choose(costs)
        return heads[turn[2]]

    def _too_long(self, now: float, blocked: set[Lane]) -> Standing | None:
        """The class of whoever has waited too long the longest is promoted. In it the tenants take their turns as always, or the one with
        the longest queue would gain; and of that tenant who came first, not who has the earliest deadline.
        """
        found: Standing | None = None
        soonest = _NEVER
        for oldest in chain.from_iterable(tenants.oldest() for tenants in self._classes):
            soonest = min(soonest, oldest.too_long_at)
            if oldest.lane in blocked or oldest.too_long_at > now:
                continue
            if found is None or (oldest.too_long_at, oldest.number) < (found.too_long_at, found.number):
                found = oldest
        self._none_too_long_before = soonest
        if found is None:
            return None
        tenants = self._classes[found.service_class]
        head = tenants.first(blocked)
        assert head is not None
        oldest = tenants.oldest_beside(head)
        return head if oldest.lane in blocked or oldest.too_long_at > now else oldest

    def _confirm(self) -> None:
        """Who is being placed goes: there was a slot. Before anything else happens to the line: it may fail at once and come back."""
        standing = self._placing
        if standing is None:
            return
        self._placing = None
        tenants = self._classes[standing.service_class]
        standing.entry.debt = tenants.take(standing)
        self._drop(standing)
        if self._turn is None:
            self._turns_since_rescue = 0
        else:
            self._turns_since_rescue += 1
            self._turns.spend(self._turn, self._costs)
        if not tenants.length:
            self._emptied(standing.service_class)

    # what is noted where

    def _stand(self, entry: Waiting) -> Standing:
        self._arrivals += 1
        key = (entry.pools, entry.excluded)
        return Standing(entry, self._arrivals, self._lanes.get(key) or Lane(key, entry), self._patience[entry.service_class])

    def _add(self, standing: Standing) -> None:
        self._classes[standing.service_class].add(standing)
        lane = standing.lane
        self._lanes[lane.key] = lane
        lane.length += 1
        if standing.too_long_at < self._none_too_long_before:
            self._none_too_long_before = standing.too_long_at
        self._ends.put(standing, (standing.give_up_at, standing.number))
        self._standing[standing.entry] = standing
        self.length += 1
        self.tokens += standing.cost

    def _remove(self, standing: Standing) -> None:
        tenants = self._classes[standing.service_class]
        tenants.remove(standing)
        self._drop(standing)
        if not tenants.length:
            self._emptied(standing.service_class)

    def _emptied(self, service_class: ServiceClass) -> None:
        self._turns.emptied(service_class)
        self._outlook.emptied(service_class)

    def _drop(self, standing: Standing) -> None:
        lane = standing.lane
        lane.length -= 1
        if not lane.length:
            del self._lanes[lane.key]
        self._ends.discard(standing)
        del self._standing[standing.entry]
        self.length -= 1
        self.tokens -= standing.cost
        if not self.length:
            self._outlook.over()

    def _give_back(self, entry: Waiting) -> None:
        """It comes back from a worker that did not do it."""
        if entry.debt is not None:
            self.settle(entry, 0, 0)

    # who is turned away

    def _too_late(self, entry: Waiting, now: float) -> PenstockError | None:
        """The refusal of one that would be served after its deadline, if it can be told."""
        time_left = entry.give_up_at - now - self._prefill_seconds(entry.prompt_tokens - entry.cached_tokens)
        wait = self.expected_wait(now, entry)
        if wait <= time_left:
            return None
        return too_late(wait)

    def _lost(self, entry: Waiting, reason: Shed, error: PenstockError) -> PenstockError:
        self.shed(entry, reason)
        return error
