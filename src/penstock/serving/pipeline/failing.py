"""What follows when a worker did not do it: the caller's mistake, another worker, a rest, or one error event."""

from typing import Final, Protocol

import structlog

from penstock.domain.call import Call, Demand
from penstock.domain.errors import PenstockError, UnsupportedParameter
from penstock.domain.inference import Operation
from penstock.domain.ports import Reply, UpstreamCall
from penstock.domain.tokens import TokenCount
from penstock.domain.usage import Outcome
from penstock.serving.pipeline import intake, retrying
from penstock.serving.pipeline.attempt import WorkerAttempt, settled_count
from penstock.serving.pipeline.phase import ANSWERING, SENT, Phase
from penstock.wire.chat.bodies import AnyBody
from penstock.wire.errors import error_event

log = structlog.get_logger("penstock.pipeline")
_NOT_FOUND: Final = 404
_NO_SUCH_CALL: Final = frozenset({404, 405, 501})
"""How servers answer for embeddings whose model makes none."""


class FailingFlight(retrying.RetryingFlight, Protocol):
    """A request whose attempt has ended without an answer."""

    call: Call
    model: str
    request: AnyBody
    demand: Demand
    phase: Phase
    reply: Reply
    upstream: UpstreamCall | None

    def settle(self, outcome: Outcome, count: TokenCount, now: float) -> None: ...

    def fail(self, error: PenstockError) -> None: ...

    def free_slot(self, attempt: WorkerAttempt) -> None: ...


def refused(flight: FailingFlight, attempt: WorkerAttempt, error: PenstockError) -> None:
    """No worker of this kind would do it."""
    if flight.upstream is not None:
        flight.upstream.cancel()
    flight.deps.workers.succeeded(attempt.member)
    if flight.phase is ANSWERING:
        break_off(flight, attempt, error)
        return
    asked_elsewhere = False
    if flight.phase is SENT and (isinstance(error, UnsupportedParameter) or error.status == _NOT_FOUND):
        try:
            asked_elsewhere = retrying.ask_elsewhere(flight, attempt.member, error)
        except PenstockError as full:  # the queue is full
            error = full
    if not asked_elsewhere:
        flight.fail(error)
    flight.free_slot(attempt)


def failed(flight: FailingFlight, attempt: WorkerAttempt, detail: str, *, busy: bool) -> None:
    """The worker did not do it; `busy`: it is well, but has no room."""
    if attempt.status in _NO_SUCH_CALL and flight.call.operation is Operation.EMBEDDING:
        refused(flight, attempt, intake.no_embeddings())
        return
    deps, member = flight.deps, attempt.member
    if flight.upstream is not None:
        flight.upstream.cancel()
    known = {"request_id": flight.call.request_id, "worker_id": member.id, "model": flight.model, "phase": flight.phase.value}
    log.warning("attempt_failed", reason=detail, **known)
    deps.workers.failed(member, busy=busy)
    rest = attempt.rest_seconds
    if rest is not None:
        deps.workers.rest(member, rest)
    retrying.note_failure(flight, member, detail, busy=busy)
    if flight.phase is ANSWERING:
        break_off(flight, attempt, intake.broke_off())
        return
    # The slot goes back only after the retry: the next in the queue must not overtake a request that was there before.
    try:
        retrying.retry(flight, member, busy=busy, rest_seconds=rest)
    except PenstockError as error:
        flight.fail(error)
    flight.free_slot(attempt)


def break_off(flight: FailingFlight, attempt: WorkerAttempt, error: PenstockError) -> None:
    """The client has a part of the answer, which is billed, and gets one error event."""
    now = flight.deps.monotonic()
    flight.settle(Outcome.FAILED, settled_count(attempt, flight.request, flight.demand.prompt_tokens, now), now)
    flight.reply.write(error_event(error))
    flight.reply.end()
    flight.free_slot(attempt)
