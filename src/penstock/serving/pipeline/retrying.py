"""Another worker is asked: after a failure, within the retry budget; or because the engine of the first one lacks a parameter."""

from typing import Final, Protocol

from penstock.domain.decisions import FailedTry
from penstock.domain.errors import PenstockError
from penstock.domain.principal import Pool
from penstock.serving.pipeline import intake
from penstock.serving.pipeline.collaborators import Collaborators
from penstock.serving.pipeline.queue_ticket import Slot
from penstock.serving.pipeline.record import RequestRecord
from penstock.serving.routing.member import Member
from penstock.serving.routing.retry_budget import RetryBudget
from penstock.serving.routing.serving import Serving
from penstock.serving.usage.meter import Meter

_LONGEST_REASON: Final = 200


class RetryingFlight(Protocol):
    """A request of which nothing has been answered yet."""

    deps: Collaborators
    record: RequestRecord
    serving: Serving
    meter: Meter
    budget: RetryBudget
    pools: tuple[Pool, ...]
    excluded: frozenset[str]
    """The workers that were asked already."""

    def choose_slot(self) -> Slot | None: ...

    def send(self, member: Member, pool: Pool) -> None: ...

    def enqueue(self, now: float) -> None: ...


def note_failure(flight: RetryingFlight, member: Member, reason: str, *, busy: bool) -> None:
    """Keep a failed try for the explanation of the decision."""
    record = flight.record
    record.tries += (FailedTry(member.id, reason[:_LONGEST_REASON], flight.deps.monotonic() - record.started, busy),)


def ask_elsewhere(flight: RetryingFlight, member: Member, error: PenstockError) -> bool:
    """Another worker of the model may be able to; nothing has failed, so no retry is spent on it. False: there is none."""
    excluded = flight.excluded | {member.id}
    if not flight.serving.has_others(flight.pools, excluded):
        return False
    flight.excluded = excluded
    note_failure(flight, member, error.noted_message, busy=False)
    if (slot := flight.choose_slot()) is not None:
        flight.send(slot[0], slot[1])
    else:
        flight.enqueue(flight.deps.monotonic())
    return True


def retry(flight: RetryingFlight, member: Member, *, busy: bool, rest_seconds: float | None = None) -> None:
    """`member` has failed. Raises the PenstockError that ends the request when no other may be asked."""
    deps = flight.deps
    flight.excluded |= {member.id}
    if flight.meter.retries + 1 < deps.rules.most_attempts and flight.budget.take(deps.monotonic()):
        flight.meter.retries += 1
        if (slot := flight.choose_slot()) is not None:
            flight.send(slot[0], slot[1])
            return
        if flight.serving.has_others(flight.pools, flight.excluded):
            flight.enqueue(deps.monotonic())
            return
    raise intake.exhausted(busy=busy, rest_seconds=rest_seconds)
