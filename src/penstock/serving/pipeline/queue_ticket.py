"""A request's part in the queue of its model: made when it must wait for the first time."""

from typing import Protocol

from penstock.domain.call import Demand
from penstock.domain.errors import PenstockError
from penstock.domain.principal import Pool, ServiceClass
from penstock.serving.routing.member import Member
from penstock.serving.scheduling.queue_entry import Debt
from penstock.serving.scheduling.request_queue import RequestQueue

Slot = tuple[Member, Pool]


class TicketHolder(Protocol):
    """The request that waits."""

    def choose_slot(self) -> Slot | None:
        """A worker with a free slot that it may use; None: there is none."""
        ...

    def has_capacity(self) -> bool: ...

    def dispatch_from_queue(self, slot: Slot) -> None: ...

    def refuse(self, error: PenstockError) -> None: ...


class QueueTicket:
    """Implements `scheduling.queue_entry.QueuedRequest`. Kept while the request runs: its debt is settled at the end."""

    def __init__(self, holder: TicketHolder, org_id: str, service_class: ServiceClass, demand: Demand) -> None:
        self._holder = holder
        self._slot: Slot | None = None
        self.org_id = org_id
        self.service_class = service_class
        self.prompt_tokens = demand.prompt_tokens
        self.max_tokens = demand.max_tokens
        self._deadline = demand.deadline
        self.cached_tokens = 0
        self.pools: tuple[Pool, ...] = ()
        self.excluded: frozenset[str] = frozenset()
        self.queued_at = 0.0
        self.give_up_at = 0.0
        self.debt: Debt | None = None

    def renew(self, pools: tuple[Pool, ...], excluded: frozenset[str], cached_tokens: int, now: float, longest_seconds: float) -> None:
        """It is about to wait, for the first time or again. `now`: monotonic seconds."""
        self.pools = pools
        self.excluded = excluded
        self.cached_tokens = cached_tokens
        self.queued_at = now
        longest = now + longest_seconds
        self.give_up_at = longest if self._deadline is None else min(longest, self._deadline)

    def wait_again(self, queue: RequestQueue, now: float) -> None:
        """Back to the queue, uncharged: its slot goes to a request that needs it more, and nothing of an answer has come."""
        # That one first: in the queue already, this one might be its own successor.
        queue.serve(now)
        queue.requeue(self)
        queue.serve(now)

    def find_slot(self) -> bool:
        self._slot = self._holder.choose_slot()
        return self._slot is not None

    def has_capacity(self) -> bool:
        return self._holder.has_capacity()

    def dispatch(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            self._holder.dispatch_from_queue(slot)

    def refuse(self, error: PenstockError) -> None:
        self._holder.refuse(error)
