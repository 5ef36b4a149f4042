"""A request's time in line: it comes in, gets a slot, and, if it is batch, may have to give it back."""

from typing import Final

from penstock.domain.errors import PenstockError
from penstock.domain.ports import UpstreamCall
from penstock.domain.principal import Pool, ServiceClass
from penstock.serving.admission.gate import Admission
from penstock.serving.pipeline import ending, intake
from penstock.serving.pipeline.attempt import WorkerAttempt
from penstock.serving.pipeline.phase import QUEUED, SENT, Phase
from penstock.serving.routing.member import Member
from penstock.serving.routing.serving import Serving
from penstock.serving.scheduling.counters import ShedReason
from penstock.serving.scheduling.queue_entry import Debt
from penstock.serving.scheduling.refusals import refuse_unserved
from penstock.serving.scheduling.request_queue import RequestQueue

_BATCH: Final = ServiceClass.BATCH
_ONLY_IDLE: Final = (Pool.OVERFLOW,)
_MOST_PREEMPTIONS: Final = 3
"""Of one request: then it stays where it is, or it might never be done."""


class Queued(ending.Trail):
    """Implements `scheduling.queue_entry.QueuedRequest`, but for its refusal."""

    serving: Serving
    queue: RequestQueue
    phase: Phase
    excluded: frozenset[str]
    org_id: str
    prompt_tokens: int
    cached_tokens: int
    max_tokens: int
    queued_at: float
    give_up_at: float
    admission: Admission | None
    attempt: WorkerAttempt | None
    exchange: UpstreamCall | None
    debt: Debt | None
    preemptions: int
    _stood: bool
    """It has been in the line, which will want to know what it used."""

    def _wait(self, now: float) -> None:
        """No slot is free for it, or others were there before."""
        if not self.serving.available and not self.serving.elastic:
            raise refuse_unserved(self.model)
        if self.pools == _ONLY_IDLE:
            # Whoever stands in line may not use what is idle now: a worker that is dedicated to this pool.
            if self.queue.length and (found := self.serving.place(self.pools, self.excluded, self.prefix)) is not None:
                self._send(found[0], found[1])
                return
            self.queue.shed(self, ShedReason.NO_IDLE_SLOT)
            raise intake.no_idle_capacity()
        self._queue(now)
        if self.queue.length > 1:
            # Those before it may wait for slots that this one need not wait for: those that are kept for its pool.
            self.queue.serve(place, now, room)
        if self.phase is QUEUED and self.service_class is not _BATCH and self.deps.preempt_batch:
            self._displace_batch(now)

    def _queue(self, now: float) -> None:
        self._stand(now)
        self.queue.enqueue(self, now)
        self.phase, self.waiting = QUEUED, self.queue.length

    def _stand(self, now: float) -> None:
        """What the line wants to know."""
        demand, longest = self.demand, now + self.deps.rules.max_wait_seconds
        self.queued_at, self.org_id = now, self.principal.org_id
        self.prompt_tokens, self.max_tokens = demand.prompt_tokens, demand.max_tokens
        self.cached_tokens = self.serving.cached_tokens(self.prefix)
        self.give_up_at = longest if demand.deadline is None else min(longest, demand.deadline)
        self._stood = True

    def placeable(self) -> bool:
        """A slot became free: go there, if it is one that this request may use."""
        found = self.serving.place(self.pools, self.excluded, self.prefix)
        if found is None:
            return False
        self.meter.queue_seconds += self.deps.monotonic() - self.queued_at
        self._send(found[0], found[1])
        return True

    def _send(self, member: Member, pool: Pool) -> None:
        raise NotImplementedError

    def refuse(self, error: PenstockError) -> None:
        raise NotImplementedError

    # batch gives way

    def _displace_batch(self, now: float) -> None:
        """Of the batch requests that have not answered yet and are where this one could be, the newest goes back in line."""
        for other in reversed(list(self.deps.batch.get(self.serving, ()))):
            if other.preempt_for(self.pools, self.excluded, now):
                return

    def preempt_for(self, pools: tuple[Pool, ...], excluded: frozenset[str], now: float) -> bool:
        """Back in line, uncharged: nothing of an answer has come, so another worker may do it later."""
        attempt, exchange = self.attempt, self.exchange
        if self.phase is not SENT or attempt is None or exchange is None or self.preemptions >= _MOST_PREEMPTIONS:
            return False
        if not self.serving.room_without(attempt.member, pools, excluded):
            return False
        exchange.cancel()
        attempt.over = True
        attempt.load.release()
        self.attempt = self.exchange = None
        self.preemptions += 1
        self.phase = QUEUED
        self._stand(now)
        # Whom it makes room for first: standing in line already, it might be its own successor.
        self.queue.serve(place, now, room)
        self.queue.requeue(self)
        self.queue.serve(place, now, room)
        return True


def place(entry: object) -> bool:
    """What the line calls for whoever is next when a slot is free."""
    assert isinstance(entry, Queued)
    return entry.placeable()


def room(entry: object) -> bool:
    """Whether there may be a slot for one like this."""
    assert isinstance(entry, Queued)
    return entry.serving.has_room(entry.pools, entry.excluded)
