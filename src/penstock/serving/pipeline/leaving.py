"""A request leaves before its answer is whole: its client has gone, or another request needs its slot more."""

from typing import Final, Protocol

from penstock.domain.call import Demand
from penstock.domain.ports import UpstreamCall
from penstock.domain.principal import Pool
from penstock.domain.tokens import TokenCount
from penstock.domain.usage import Outcome
from penstock.serving.pipeline import ending
from penstock.serving.pipeline.attempt import WorkerAttempt, settled_count
from penstock.serving.pipeline.collaborators import Collaborators
from penstock.serving.pipeline.phase import FINISHED, QUEUED, SENT, Phase
from penstock.serving.pipeline.queue_ticket import QueueTicket
from penstock.serving.pipeline.record import RequestRecord
from penstock.serving.routing.serving import Serving
from penstock.serving.scheduling.request_queue import RequestQueue
from penstock.wire.chat.bodies import AnyBody

_MOST_PREEMPTIONS: Final = 3
"""Of one request: then it stays where it is, or it might never be done."""


class LeavingFlight(Protocol):
    """A request that was admitted."""

    deps: Collaborators
    record: RequestRecord
    serving: Serving
    queue: RequestQueue
    demand: Demand
    request: AnyBody
    phase: Phase
    attempt: WorkerAttempt | None
    upstream: UpstreamCall | None
    queue_ticket: QueueTicket | None
    preemptions: int

    def ticket(self, now: float) -> QueueTicket: ...

    def settle(self, outcome: Outcome, count: TokenCount, now: float) -> None: ...

    def release(self) -> None: ...

    def free_slot(self, attempt: WorkerAttempt) -> None: ...


def cancel(flight: LeavingFlight) -> None:
    """The client has left: stop the generation and settle what was used."""
    phase, attempt = flight.phase, flight.attempt
    if phase is FINISHED:
        return
    if phase is QUEUED:
        if flight.queue_ticket is not None:
            flight.queue.withdraw(flight.queue_ticket)
        flight.phase = FINISHED
        flight.release()
        ending.client_disconnected(flight.deps, flight.record, flight.deps.monotonic())
        return
    if attempt is None or flight.upstream is None:
        flight.phase = FINISHED
        flight.release()
        if attempt is not None:
            flight.free_slot(attempt)
        return
    flight.upstream.cancel()
    now = flight.deps.monotonic()
    flight.settle(Outcome.CLIENT_LEFT, settled_count(attempt, flight.request, flight.demand.prompt_tokens, now), now)
    flight.free_slot(attempt)


def preempt(flight: LeavingFlight, pools: tuple[Pool, ...], excluded: frozenset[str], now: float) -> bool:
    """Give its slot back, if nothing of its answer has come and a request of these pools could be there; False: it stays."""
    attempt, upstream = flight.attempt, flight.upstream
    if flight.phase is not SENT or attempt is None or upstream is None or flight.preemptions >= _MOST_PREEMPTIONS:
        return False
    if not flight.serving.would_have_capacity_without(attempt.member, pools, excluded):
        return False
    upstream.cancel()
    attempt.ended = True
    attempt.load.release()
    flight.attempt = flight.upstream = None
    flight.preemptions += 1
    flight.phase = QUEUED
    flight.ticket(now).wait_again(flight.queue, now)
    return True
