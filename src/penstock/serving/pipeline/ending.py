"""What is told of a request that is over: to the observer, the log, and the record of decisions."""

from typing import Final

from penstock.domain.errors import PenstockError
from penstock.domain.outcome import RequestOutcome
from penstock.domain.tokens import TokenCount
from penstock.domain.usage import Outcome
from penstock.serving.pipeline import heads, request_log
from penstock.serving.pipeline.collaborators import Collaborators
from penstock.serving.pipeline.record import RequestRecord

CLIENT_LEFT: Final = "client_left"
REPLAYED: Final = "replayed"
BROKE_OFF: Final = "upstream_failed"
_CODES: Final = {Outcome.COMPLETED: "", Outcome.CLIENT_LEFT: CLIENT_LEFT, Outcome.FAILED: BROKE_OFF}


def decision_summary(record: RequestRecord) -> bytes:
    """The decision as its header tells it, when the answer begins."""
    meter, snapshot, pool = record.meter, record.snapshot, record.pool
    if snapshot is None or meter is None or pool is None:
        return heads.otherwise(record.service_class, "queued")
    if not meter.queue_seconds and not record.tries:
        return heads.at_once(record.service_class, pool, snapshot.labels[0], meter.worker_id)
    decision = heads.chosen(record.service_class, pool, snapshot.labels[0], meter.worker_id)
    return decision + heads.effort(meter.queue_seconds, len(record.tries) + 1)


def refusal_headers(record: RequestRecord, error: PenstockError, now: float) -> bytes:
    """The lines of identity for a request that is refused."""
    call = record.call
    decision = heads.otherwise(record.service_class, f"refused={error.code}")
    decision += heads.effort(now - record.queued_at if record.waiting else 0.0, len(record.tries))
    return heads.identity(call.request_id, call.client_request_id, decision)


def settled(deps: Collaborators, record: RequestRecord, outcome: Outcome, count: TokenCount, now: float) -> None:
    """A worker was at it: done, broken off, or left by the client."""
    meter, seconds = record.meter, now - record.started
    ended = _outcome_of(deps, record, now, 200, _CODES[outcome], "", count)
    deps.observer.record_outcome(ended)
    rules = deps.rules
    if count.doubt is not None and meter is not None:
        request_log.doubted(record.call, record.model, meter.worker_id, count, count.doubt)
    if (slow := seconds > rules.slow_request_seconds) or rules.log_requests:
        assert meter is not None
        request_log.finished(record.principal, record.call, record.model, meter, outcome, count, seconds, slow=slow)
    deps.decisions.note(ended)


def failed(deps: Collaborators, record: RequestRecord, error: PenstockError, now: float, *, asked: bool) -> None:
    """Nothing was used. `asked`: a worker was, at least."""
    ended = _outcome_of(deps, record, now, error.status, error.code, error.noted_message, None)
    if asked:
        deps.observer.record_outcome(ended)
    deps.decisions.note(ended)


def replayed(deps: Collaborators, record: RequestRecord, status: int, now: float) -> None:
    """It was answered with what the first request of its Idempotency-Key got."""
    deps.decisions.note(_outcome_of(deps, record, now, status, REPLAYED, "", None))


def client_disconnected(deps: Collaborators, record: RequestRecord, now: float) -> None:
    """The client left while its request was waiting."""
    deps.decisions.note(_outcome_of(deps, record, now, 0, CLIENT_LEFT, "", None))


def _outcome_of(
    deps: Collaborators, record: RequestRecord, now: float, status: int, code: str, message: str, count: TokenCount | None
) -> RequestOutcome:
    """The only place that makes one. By position: 25 keywords would cost 5 us a request; a test compares every field by its name."""
    call, meter, started = record.call, record.meter, record.started
    return RequestOutcome(
        call.request_id,
        record.principal,
        record.service_class,
        call.operation,
        record.model,
        record.demand,
        record.pools,
        record.pool,
        "" if meter is None else meter.tier,
        "" if meter is None else meter.worker_id,
        record.snapshot,
        record.waiting,
        # A request that was refused in the queue has waited until now.
        0.0 if meter is None else meter.queue_seconds or (now - record.queued_at if record.waiting and count is None else 0.0),
        record.tries,
        0 if meter is None else meter.retries,
        started,
        None if meter is None else meter.first_token_at,
        now,
        deps.time() - (now - started) if meter is None else meter.started_wall,
        status,
        code,
        message,
        count,
        record.limits,
        call.timeout_seconds,
    )
