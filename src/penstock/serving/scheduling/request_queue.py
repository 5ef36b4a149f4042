"""The fair queue of one model.

Classes by weight (`deficit_round_robin.py`), inside a class the tenant that was served least (`tenants.py`), inside a tenant the
earliest deadline. A pool is not a queue: a request that cannot be placed now does not hold up those that may use other slots. Each
decision costs O(log n).
"""

from collections.abc import Callable
from itertools import chain

from penstock.domain.errors import PenstockError
from penstock.domain.principal import ServiceClass
from penstock.serving.scheduling.counters import ClassCounters, ShedReason
from penstock.serving.scheduling.deficit_round_robin import DeficitRoundRobin, Turn
from penstock.serving.scheduling.heap import Heap
from penstock.serving.scheduling.outlook import Outlook
from penstock.serving.scheduling.queue_entry import QueuedRequest, QueueEntry, SlotGroup
from penstock.serving.scheduling.refusals import full, too_late
from penstock.serving.scheduling.rules import RULES, QueueRules
from penstock.serving.scheduling.tenants import Tenants

_BATCH = ServiceClass.BATCH
_TURNS_BETWEEN_RESCUES = 3
"""Who has waited too long gets at most every fourth slot: in a long rush all have, and the classes' weights must still mean something."""
_BY_FAR = 2.0
"""Of the time that is left: a pace is an estimate, and who was let in should not go for its noise."""
_NEVER = float("inf")


class RequestQueue:
    """A request that could be placed at once never comes here."""

    def __init__(
        self,
        limit: int,
        drain_window_seconds: float = 10.0,
        rules: QueueRules = RULES,
        chance: Callable[[], float] = lambda: 1.0,
        prefill_seconds: Callable[[int], float] = lambda tokens: 0.0,
    ) -> None:
        """`limit`: the most that may wait in any one class; each has a bound of its own too.

        `chance` draws from [0, 1) for what is shed at random (never, without one); `prefill_seconds` says how long the first token of a
        prompt of so many uncached tokens takes a worker.
        """
        self.length = 0
        self.tokens = 0
        self.class_counters = [ClassCounters() for _ in ServiceClass]
        """By class."""
        self._limit = limit
        self._chance = chance
        self._prefill_seconds = prefill_seconds
        self._round_robin = DeficitRoundRobin(rules.weights)
        self._classes = [Tenants(rules.tenant_weights) for _ in ServiceClass]
        self._groups: dict[object, SlotGroup] = {}
        self._entries: dict[QueuedRequest, QueueEntry] = {}
        self._ends: Heap[QueueEntry] = Heap()
        """By the moment when their clients stop waiting."""
        self._outlook = Outlook(drain_window_seconds, self._classes)
        self._arrivals = 0
        self._turns_since_rescue = _TURNS_BETWEEN_RESCUES
        self._none_too_long_before = _NEVER
        self._turn: Turn | None = None
        """How the classes' turns led to the entry that was chosen; None: it has waited too long."""
        self._costs = [0] * len(ServiceClass)
        self._serving = self._again = False
        self.adopt(rules)

    def __len__(self) -> int:
        return self.length

    def adopt(self, rules: QueueRules) -> None:
        """Another policy: weights hold from the next decision on, bounds and patience for who comes next; who waits stays in the queue."""
        self.rules = rules
        self._bounds = [min(self._limit, rules.bounds[each]) for each in ServiceClass]
        self._patience = [rules.patience_seconds[each] for each in ServiceClass]
        self._round_robin.adopt(rules.weights)
        for tenants in self._classes:
            tenants.weights = rules.tenant_weights

    # coming and leaving

    def enqueue(self, request: QueuedRequest, now: float) -> None:
        """Join the queue. Raises RateLimited when its class is full, DeadlineExceeded when the deadline cannot be met.

        A full class still takes a request of a tenant that has fewer queued than another, and refuses the latest of that one instead.
        Batch is refused at random before that, the likelier the fuller the fullest class is.
        """
        service_class = request.service_class
        self._returned_unserved(request)
        if service_class is _BATCH and self._chance() < self.rules.batch_shed_probability(self.saturation):
            raise self._lost(request, ShedReason.SATURATED, full(self.expected_wait(now, request)))
        tenants = self._classes[service_class]
        displaced = None
        if tenants.length >= self._bounds[service_class]:
            displaced = tenants.expendable(request.org_id)
            if displaced is None:
                raise self._lost(request, ShedReason.FULL, full(self.expected_wait(now, request)))
        if (late := self._too_late(request, now)) is not None:
            raise self._lost(request, ShedReason.DEADLINE, late)
        if displaced is not None:
            self._remove(displaced)
        self._add(entry := self._new_entry(request))
        self._outlook.note_arrival(service_class, entry.cost, now)
        if displaced is not None:
            error = full(self.expected_wait(now, displaced.request))
            displaced.request.refuse(self._lost(displaced.request, ShedReason.DISPLACED, error))

    def requeue(self, request: QueuedRequest) -> None:
        """Back in the queue after its slot was taken away: it was let in once, so no bound and no deadline refuses it; it owes nothing."""
        self._returned_unserved(request)
        self.class_counters[request.service_class].preempted += 1
        self._add(self._new_entry(request))

    def withdraw(self, request: QueuedRequest) -> None:
        """It is not waited for any more (the client left, the deadline passed)."""
        entry = self._entries.get(request)
        if entry is not None:
            self._remove(entry)

    def drop_expired(self, now: float) -> list[QueuedRequest]:
        """Takes those out whose time has passed; the caller tells them."""
        late: list[QueuedRequest] = []
        while (entry := self._ends.first()) is not None and entry.give_up_at <= now:
            self._remove(entry)
            self.shed(entry.request, ShedReason.EXPIRED)
            late.append(entry.request)
        return late

    def drop_unreachable_deadlines(self, now: float) -> list[tuple[QueuedRequest, PenstockError]]:
        """Takes those out who would wait far past their deadlines, as others came before them or the queue became slower. The next of
        each tenant is not among them. The caller tells them."""
        soonest = self._ends.first()
        found: list[tuple[QueuedRequest, PenstockError]] = []
        if soonest is None:
            return found
        time_left, weights = soonest.give_up_at - now, self.rules.weights
        for each, tenants in zip(ServiceClass, self._classes, strict=True):
            if not tenants.length or self._outlook.behind(each, tenants.tokens, now, weights) <= time_left:
                continue
            for entry, ahead in tenants.behind():
                wait = self._outlook.behind(each, ahead, now, weights)
                if wait > _BY_FAR * (entry.give_up_at - now):
                    found.append((entry.request, self._lost(entry.request, ShedReason.OVERTAKEN, too_late(wait))))
                    self._remove(entry)
        return found

    def drain(self) -> list[QueuedRequest]:
        """Takes all requests out (the process is stopping)."""
        everyone = list(self._entries)
        for request in everyone:
            self.withdraw(request)
            self.shed(request, ShedReason.STOPPING)
        return everyone

    def shed(self, request: QueuedRequest, reason: ShedReason) -> None:
        """Count a request that is not served, for a reason that need not be the queue's own."""
        self.class_counters[request.service_class].lost(reason)

    # being served

    def serve(self, now: float) -> None:
        """Dispatch the requests whose turn it is, until none of those that wait finds a slot."""
        if self._serving:
            # A worker failed while its request was being dispatched: what that set free is given away when the request has been.
            self._again = True
            return
        self._serving = True
        try:
            self._serve(now)
        finally:
            self._serving = self._again = False

    def settle_debt(self, request: QueuedRequest, prompt: int, completion: int) -> None:
        """What the request has really used, uncached; nothing happens to one that was never queued."""
        debt = request.debt
        if debt is not None:
            request.debt = None
            debt.settle(prompt, completion)

    # what an operator, a test and a refusal want to know

    def expected_wait(self, now: float, request: QueuedRequest | None = None) -> float:
        """Seconds until the whole queue, or `entry` if it came now, would be served; 0 when that is not known."""
        if request is None:
            return self._outlook.all(self.tokens, now)
        own = request.service_class
        ahead = self._classes[own].ahead(request.org_id, request.give_up_at)
        return self._outlook.behind(own, ahead, now, self.rules.weights)

    def demand(self, output_tokens: float | None) -> int:
        """Tokens that a worker will probably compute for all of these, where an answer has so many on average (None: not known)."""
        longest = _NEVER if output_tokens is None else output_tokens
        return int(sum(entry.service + min(entry.request.max_tokens, longest) for entry in self._entries.values()))

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
        return dict(zip(ServiceClass, self._round_robin.deficits, strict=True))

    # a decision

    def _serve(self, now: float) -> None:
        blocked: set[SlotGroup] = set()
        while (entry := self._choose(now, blocked)) is not None:
            request = entry.request
            if not request.find_slot():
                blocked.add(entry.group)
                continue
            # It leaves the queue before it is dispatched: its worker may fail at once, and then it comes back.
            self._let_go(entry)
            if self.length:
                self._outlook.note_departure(entry.service_class, entry.cost, now)
            self.class_counters[entry.service_class].waited(now - request.queued_at)
            request.dispatch()
            if self._again:
                self._again = False
                blocked.clear()
            if not self._any_capacity(blocked):
                return

    def _any_capacity(self, blocked: set[SlotGroup]) -> bool:
        """Most often one slot became free, and is taken now: to ask once for each group is cheaper than to choose a request of it."""
        found = False
        for group in self._groups.values():
            if group in blocked:
                continue
            if group.sample.has_capacity():
                found = True
            else:
                blocked.add(group)
        return found

    def _choose(self, now: float, blocked: set[SlotGroup]) -> QueueEntry | None:
        if not self.length or (blocked and all(group in blocked for group in self._groups.values())):
            return None
        if now >= self._none_too_long_before and self._turns_since_rescue >= _TURNS_BETWEEN_RESCUES:
            too_long = self._too_long(now, blocked)
            if too_long is not None:
                self._turn = None
                return too_long
        heads: list[QueueEntry | None] = []
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
        self._turn = turn = self._round_robin.choose(costs)
        return heads[turn[2]]

    def _too_long(self, now: float, blocked: set[SlotGroup]) -> QueueEntry | None:
        """The class of the request that is longest overdue is promoted. In it the tenants take their turns as always, or the one with
        the longest queue would gain; and of that tenant who came first, not who has the earliest deadline.
        """
        found: QueueEntry | None = None
        soonest = _NEVER
        for oldest in chain.from_iterable(tenants.oldest() for tenants in self._classes):
            soonest = min(soonest, oldest.too_long_at)
            if oldest.group in blocked or oldest.too_long_at > now:
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
        return head if oldest.group in blocked or oldest.too_long_at > now else oldest

    def _let_go(self, entry: QueueEntry) -> None:
        """It was chosen and has a slot: its tenant is charged, and its class pays for the turn."""
        tenants = self._classes[entry.service_class]
        entry.request.debt = tenants.take(entry)
        self._drop(entry)
        if self._turn is None:
            self._turns_since_rescue = 0
        else:
            self._turns_since_rescue += 1
            self._round_robin.spend(self._turn, self._costs)
        if not tenants.length:
            self._emptied(entry.service_class)

    # what is noted where

    def _new_entry(self, request: QueuedRequest) -> QueueEntry:
        self._arrivals += 1
        key = (request.pools, request.excluded)
        return QueueEntry(request, self._arrivals, self._groups.get(key) or SlotGroup(key, request), self._patience[request.service_class])

    def _add(self, entry: QueueEntry) -> None:
        self._classes[entry.service_class].add(entry)
        group = entry.group
        self._groups[group.key] = group
        group.length += 1
        if entry.too_long_at < self._none_too_long_before:
            self._none_too_long_before = entry.too_long_at
        self._ends.put(entry, (entry.give_up_at, entry.number))
        self._entries[entry.request] = entry
        self.length += 1
        self.tokens += entry.cost

    def _remove(self, entry: QueueEntry) -> None:
        tenants = self._classes[entry.service_class]
        tenants.remove(entry)
        self._drop(entry)
        if not tenants.length:
            self._emptied(entry.service_class)

    def _emptied(self, service_class: ServiceClass) -> None:
        self._round_robin.emptied(service_class)
        self._outlook.emptied(service_class)

    def _drop(self, entry: QueueEntry) -> None:
        group = entry.group
        group.length -= 1
        if not group.length:
            del self._groups[group.key]
        self._ends.discard(entry)
        del self._entries[entry.request]
        self.length -= 1
        self.tokens -= entry.cost
        if not self.length:
            self._outlook.queue_empty()

    def _returned_unserved(self, request: QueuedRequest) -> None:
        """It comes back from a worker that did not do it."""
        if request.debt is not None:
            self.settle_debt(request, 0, 0)

    # who is refused

    def _too_late(self, request: QueuedRequest, now: float) -> PenstockError | None:
        """The refusal of one that would be served after its deadline, if it can be told."""
        time_left = request.give_up_at - now - self._prefill_seconds(request.prompt_tokens - request.cached_tokens)
        wait = self.expected_wait(now, request)
        if wait <= time_left:
            return None
        return too_late(wait)

    def _lost(self, request: QueuedRequest, reason: ShedReason, error: PenstockError) -> PenstockError:
        self.shed(request, reason)
        return error
