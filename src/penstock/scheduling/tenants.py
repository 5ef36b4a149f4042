"""Who is next inside a class: the tenant that was served least (virtual token counters, Sheng et al., arXiv 2401.00588).

A request is charged in full when it goes to a worker, and settled when its true number of tokens is known. A tenant that comes back is
lifted to the least of those that wait: nobody saves up service by staying away.
"""

from collections.abc import Set
from dataclasses import dataclass

from penstock.scheduling.heap import Heap
from penstock.scheduling.waiting import Lane, Standing

PROMPT_WEIGHT, COMPLETION_WEIGHT = 1, 2


class Tenant:
    __slots__ = ("active_since", "counter", "org_id", "queues", "running", "tokens", "waiting")

    def __init__(self, org_id: str) -> None:
        self.org_id = org_id
        self.counter = 0
        self.active_since = 0
        """The number of the arrival since which it has had somebody in line; between equal counters the earlier is first."""
        self.running = 0
        """Charged and not settled."""
        self.tokens = 0
        self.waiting: Heap[Standing] = Heap()
        """The latest arrival first."""
        self.queues: dict[Lane, Heap[Standing]] = {}
        """Earliest deadline first."""


class Tenants:
    """The waiting requests of one class."""

    def __init__(self) -> None:
        self.length = 0
        self.tokens = 0
        self._known: dict[str, Tenant] = {}
        self._ranks: dict[Lane, Heap[Tenant]] = {}
        """For each lane the tenants with somebody in it, by counter."""
        self._longest: Heap[Tenant] = Heap()
        self._idle: Heap[Tenant] = Heap()
        """Neither waiting nor running, remembered until the others have caught up."""
        self._level = 0
        """The least counter when somebody was last let go."""

    # in and out

    def add(self, standing: Standing) -> None:
        tenant = self._known.get(standing.org_id)
        if tenant is None:
            tenant = self._known[standing.org_id] = Tenant(standing.org_id)
        if not tenant.waiting:
            tenant.counter = max(tenant.counter, self._least())
            tenant.active_since = standing.number
            self._idle.discard(tenant)
        lane = standing.lane
        queue = tenant.queues.get(lane)
        if queue is None:
            queue = tenant.queues[lane] = Heap()
            self._ranks.setdefault(lane, Heap()).put(tenant, (tenant.counter, tenant.active_since))
        queue.put(standing, (standing.give_up_at, standing.number))
        tenant.waiting.put(standing, (-standing.number, 0.0))
        self._resize(tenant, 1, standing.cost)

    def remove(self, standing: Standing) -> None:
        tenant = self._known[standing.org_id]
        self._extract(tenant, standing)
        self._forget(tenant)

    def take(self, standing: Standing) -> "Charge":
        """Let it go to a worker, at its tenant's expense."""
        tenant = self._known[standing.org_id]
        self._level = self._least()
        self._extract(tenant, standing)
        tenant.running += 1
        self._count(tenant, standing.service)
        return Charge(self, tenant, standing.service)

    def settle(self, charge: "Charge", service: int) -> None:
        charge.tenant.running -= 1
        self._count(charge.tenant, service - charge.service)
        self._forget(charge.tenant)

    # who

    def first(self, blocked: Set[Lane]) -> Standing | None:
        """The next of those that are in other lanes."""
        best: Standing | None = None
        least = (0, 0.0, 0)
        for lane, rank in self._ranks.items():
            if lane in blocked or (tenant := rank.first()) is None or (head := tenant.queues[lane].first()) is None:
                continue
            order = (tenant.counter, head.give_up_at, head.number)
            if best is None or order < least:
                best, least = head, order
        return best

    def expendable(self, org_id: str) -> Standing | None:
        """The latest of the tenant with most in line, when even without it that one has no less than `org_id` would have."""
        longest, own = self._longest.first(), self._known.get(org_id)
        if longest is None or len(longest.waiting) - 1 < (len(own.waiting) if own else 0) + 1:
            return None
        return longest.waiting.first()

    def ahead(self, org_id: str, give_up_at: float) -> int:
        """About how many tokens of the class would go before a request that came now."""
        tenant = self._known.get(org_id)
        if tenant is None or not tenant.waiting:
            return 0
        heads = [head for queue in tenant.queues.values() if (head := queue.first()) is not None]
        if all(give_up_at < head.give_up_at for head in heads):
            return 0
        return min(self.tokens, tenant.tokens * len(self._longest))

    @property
    def counters(self) -> dict[str, int]:
        """Of the tenants that are remembered."""
        return {org_id: tenant.counter for org_id, tenant in self._known.items()}

    # inside

    def _extract(self, tenant: Tenant, standing: Standing) -> None:
        lane = standing.lane
        queue = tenant.queues[lane]
        queue.discard(standing)
        if not len(queue):
            del tenant.queues[lane]
            rank = self._ranks[lane]
            rank.discard(tenant)
            if not len(rank):
                del self._ranks[lane]
        tenant.waiting.discard(standing)
        self._resize(tenant, -1, -standing.cost)

    def _resize(self, tenant: Tenant, entries: int, tokens: int) -> None:
        self.length += entries
        self.tokens += tokens
        tenant.tokens += tokens
        if tenant.waiting:
            self._longest.put(tenant, (-len(tenant.waiting), 0.0))
        else:
            self._longest.discard(tenant)

    def _count(self, tenant: Tenant, service: int) -> None:
        tenant.counter += service
        for lane in tenant.queues:
            self._ranks[lane].put(tenant, (tenant.counter, tenant.active_since))

    def _least(self) -> int:
        firsts = [tenant.counter for rank in self._ranks.values() if (tenant := rank.first()) is not None]
        return min(firsts) if firsts else self._level

    def _forget(self, tenant: Tenant) -> None:
        """Whom a return would lift anyway, and everybody when the rush is over."""
        if not tenant.waiting and not tenant.running:
            self._idle.put(tenant, (tenant.counter, 0.0))
        if len(self._idle) == len(self._known):
            self._known.clear()
            self._idle, self._level = Heap(), 0
            return
        least = self._least() if self.length else -1
        while (idle := self._idle.first()) is not None and idle.counter <= least:
            self._idle.discard(idle)
            del self._known[idle.org_id]


@dataclass(slots=True)
class Charge:
    """Implements `waiting.Debt`."""

    tenants: Tenants
    tenant: Tenant
    service: int

    def settle(self, prompt: int, completion: int) -> None:
        self.tenants.settle(self, service(prompt, completion))


def service(prompt: int, completion: int) -> int:
    """What a request's tokens weigh in its tenant's counter."""
    return PROMPT_WEIGHT * prompt + COMPLETION_WEIGHT * completion
