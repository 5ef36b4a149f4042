"""Who is next inside a class: the tenant that was served least (virtual token counters, Sheng et al., arXiv 2401.00588).

A request's prompt is charged when it goes to a worker, its output as it comes, in coarse steps; at its end the charge is settled to the
true number. A tenant that comes back is lifted to the least of those that wait: no tenant saves up service by staying away. A tenant's
weight divides what it is charged.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Set

from penstock.serving.scheduling.heap import Heap
from penstock.serving.scheduling.queue_entry import QueueEntry, SlotGroup

PROMPT_WEIGHT, COMPLETION_WEIGHT = 1, 2
STEP_TOKENS = 32
"""Output is charged once in so many tokens: the counters of others move no faster."""


class Tenant:
    __slots__ = ("active_since", "counter", "org_id", "queues", "running", "tokens", "waiting")

    def __init__(self, org_id: str) -> None:
        self.org_id = org_id
        self.counter = 0
        self.active_since = 0
        """The number of the arrival since which it has always had a request in the queue; between equal counters the earlier is first."""
        self.running = 0
        """Charged and not settled."""
        self.tokens = 0
        self.waiting: dict[QueueEntry, None] = {}
        """In the order of their arrival."""
        self.queues: dict[SlotGroup, Heap[QueueEntry]] = {}
        """Earliest deadline first."""


class Tenants:
    """The waiting requests of one class."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.length = 0
        self.tokens = 0
        self.weights = weights
        """Of organisations; may be replaced at any time."""
        self._known: dict[str, Tenant] = {}
        self._arrivals: dict[SlotGroup, OrderedDict[QueueEntry, None]] = {}
        """In the order in which they came, so in the order in which they will have waited too long."""
        self._ranks: dict[SlotGroup, Heap[Tenant]] = {}
        """For each group the tenants with a request in it, by counter."""
        self._by_length: list[dict[Tenant, None]] = [{}]
        """Tenants by how many of theirs wait; the last one is not empty while a request waits."""
        self._idle: Heap[Tenant] = Heap()
        """Neither waiting nor running, remembered until the others have caught up."""
        self._level = 0
        """The counter of the tenant that was last alone in the queue."""
        self.head: QueueEntry | None = None
        """What `first` said of all groups, while nothing has changed."""
        self._waiting_tenants = 0

    # in and out

    def add(self, entry: QueueEntry) -> None:
        self.head = None
        tenant = self._known.get(entry.org_id)
        if tenant is None:
            tenant = self._known[entry.org_id] = Tenant(entry.org_id)
        if not tenant.waiting:
            tenant.counter = max(tenant.counter, self._least())
            tenant.active_since = entry.number
            self._idle.discard(tenant)
            self._waiting_tenants += 1
        group = entry.group
        queue = tenant.queues.get(group)
        if queue is None:
            queue = tenant.queues[group] = Heap()
            rank = self._ranks.get(group)
            if rank is None:
                rank = self._ranks[group] = Heap()
            rank.put(tenant, (tenant.counter, tenant.active_since))
        queue.put(entry, (entry.give_up_at, entry.number))
        arrivals = self._arrivals.get(group)
        if arrivals is None:
            arrivals = self._arrivals[group] = OrderedDict()
        arrivals[entry] = None
        count = len(tenant.waiting)
        tenant.waiting[entry] = None
        self._move(tenant, count, count + 1)
        self.length += 1
        self.tokens += entry.cost
        tenant.tokens += entry.cost

    def remove(self, entry: QueueEntry) -> None:
        tenant = self._known[entry.org_id]
        self._extract(tenant, entry)
        self._forget(tenant)

    def take(self, entry: QueueEntry) -> "Charge":
        """Let it go to a worker, at its tenant's expense."""
        tenant = self._known[entry.org_id]
        self._extract(tenant, entry)
        tenant.running += 1
        weight = self.weights.get(entry.org_id, 1.0) if self.weights else 1.0
        charge = Charge(self, tenant, entry.service, weight)
        self.count(tenant, charge.charged)
        return charge

    def settle(self, charge: "Charge", amount: int) -> None:
        tenant = charge.tenant
        tenant.running -= 1
        if amount != charge.charged:
            self.count(tenant, amount - charge.charged)
        if not tenant.waiting or self._idle:
            self._forget(tenant)

    def count(self, tenant: Tenant, amount: int) -> None:
        self.head = None
        tenant.counter += amount
        for group in tenant.queues:
            self._ranks[group].put(tenant, (tenant.counter, tenant.active_since))

    # who

    def first(self, blocked: Set[SlotGroup]) -> QueueEntry | None:
        """The next of those that are in other groups."""
        best: QueueEntry | None = None
        least = 0
        for group, rank in self._ranks.items():
            if (blocked and group in blocked) or (tenant := rank.first()) is None:
                continue
            counter = tenant.counter
            if best is not None and counter > least:
                continue
            head = tenant.queues[group].first()
            assert head is not None
            if best is None or counter < least or (head.give_up_at, head.number) < (best.give_up_at, best.number):
                best, least = head, counter
        if not blocked:
            self.head = best
        return best

    def oldest(self) -> Iterator[QueueEntry]:
        """Of each group who came first."""
        return (next(iter(arrivals)) for arrivals in self._arrivals.values())

    def oldest_beside(self, entry: QueueEntry) -> QueueEntry:
        """The first that came of the same tenant."""
        return next(iter(self._known[entry.org_id].waiting))

    def expendable(self, org_id: str) -> QueueEntry | None:
        """The latest of the tenant with most in the queue, when even without it that one has no less than `org_id` would have."""
        most, own = len(self._by_length) - 1, self._known.get(org_id)
        if most - 1 < (len(own.waiting) if own else 0) + 1:
            return None
        longest = next(iter(self._by_length[most]))
        return next(reversed(longest.waiting))

    def ahead(self, org_id: str, give_up_at: float) -> int:
        """About how many tokens of the class would go before a request that came now."""
        tenant = self._known.get(org_id)
        if tenant is None or not tenant.waiting:
            return 0
        heads = [head for queue in tenant.queues.values() if (head := queue.first()) is not None]
        if all(give_up_at < head.give_up_at for head in heads):
            return 0
        return min(self.tokens, tenant.tokens * self._waiting_tenants)

    def behind(self) -> Iterator[tuple[QueueEntry, int]]:
        """All but the next of each tenant, with about how many tokens of the class go before. An entry that was taken out since the last
        one was asked for goes before no other.
        """
        for tenant in list(self._known.values()):
            before = 0
            for entry in sorted(tenant.waiting, key=_by_deadline):
                if before:
                    yield entry, min(self.tokens, before * self._waiting_tenants)
                if entry in tenant.waiting:
                    before += entry.cost

    @property
    def counters(self) -> dict[str, int]:
        """Of the tenants that are remembered."""
        return {org_id: tenant.counter for org_id, tenant in self._known.items()}

    # inside

    def _extract(self, tenant: Tenant, entry: QueueEntry) -> None:
        self.head = None
        if self.length == 1:
            self._level = tenant.counter
        group = entry.group
        if tenant.queues[group].discard(entry):
            del tenant.queues[group]
            if self._ranks[group].discard(tenant):
                del self._ranks[group]
        arrivals = self._arrivals[group]
        del arrivals[entry]
        if not arrivals:
            del self._arrivals[group]
        del tenant.waiting[entry]
        count = len(tenant.waiting)
        self._move(tenant, count + 1, count)
        if not count:
            self._waiting_tenants -= 1
        self.length -= 1
        self.tokens -= entry.cost
        tenant.tokens -= entry.cost

    def _move(self, tenant: Tenant, before: int, after: int) -> None:
        """Its length has changed by one."""
        by_length = self._by_length
        if before:
            del by_length[before][tenant]
        if after:
            if after == len(by_length):
                by_length.append({})
            by_length[after][tenant] = None
        if len(by_length) > 1 and not by_length[-1]:
            by_length.pop()

    def _least(self) -> int:
        firsts = [tenant.counter for rank in self._ranks.values() if (tenant := rank.first()) is not None]
        return min(firsts) if firsts else self._level

    def _forget(self, tenant: Tenant) -> None:
        """Those that a return would lift anyway, and all when the rush is over."""
        idle = self._idle
        if not tenant.waiting and not tenant.running:
            idle.put(tenant, (tenant.counter, 0.0))
        if len(idle) == len(self._known):
            self._known.clear()
            self._idle, self._level = Heap(), 0
            return
        if not idle:
            return
        least = self._least() if self.length else -1
        while (oldest := idle.first()) is not None and oldest.counter <= least:
            idle.discard(oldest)
            del self._known[oldest.org_id]


def _by_deadline(entry: QueueEntry) -> tuple[float, int]:
    return entry.give_up_at, entry.number


class Charge:
    """Implements `waiting.Debt`. Its tenant's weight is that of the moment when it began."""

    __slots__ = ("_prompt", "_tenants", "_weight", "charged", "due", "tenant")

    def __init__(self, tenants: Tenants, tenant: Tenant, prompt: int, weight: float) -> None:
        self._tenants = tenants
        self._prompt = prompt
        self._weight = weight
        self.tenant = tenant
        self.charged = self._weighted(prompt, 0)
        self.due = STEP_TOKENS

    def grow(self, completion: int) -> None:
        self.due = completion + STEP_TOKENS
        amount = self._weighted(self._prompt, completion)
        if amount > self.charged:
            more, self.charged = amount - self.charged, amount
            self._tenants.count(self.tenant, more)

    def settle(self, prompt: int, completion: int) -> None:
        self._tenants.settle(self, self._weighted(prompt, completion))

    def _weighted(self, prompt: int, completion: int) -> int:
        amount = service(prompt, completion)
        return amount if self._weight == 1.0 else round(amount / self._weight)


def service(prompt: int, completion: int) -> int:
    """What a request's tokens weigh in its tenant's counter."""
    return PROMPT_WEIGHT * prompt + COMPLETION_WEIGHT * completion
