"""What is told of a request that is over: to the observer, the log, and whoever may ask later why it went as it did."""

from typing import Final

from penstock.domain.call import Call, Demand
from penstock.domain.decisions import FailedTry
from penstock.domain.errors import PenstockError
from penstock.domain.inference import TokenCount
from penstock.domain.outcome import RequestOutcome, RoutingSnapshot
from penstock.domain.principal import Pool, Principal, ServiceClass
from penstock.domain.usage import Outcome
from penstock.serving.pipeline import heads, request_log
from penstock.serving.pipeline.collaborators import Collaborators
from penstock.serving.routing.prefix import NO_PREFIX, Prefix
from penstock.serving.routing.serving import Serving
from penstock.serving.usage.meter import Meter

CLIENT_LEFT: Final = "client_left"
REPLAYED: Final = "replayed"
BROKE_OFF: Final = "upstream_failed"
_CODES: Final = {Outcome.COMPLETED: "", Outcome.CLIENT_LEFT: CLIENT_LEFT, Outcome.FAILED: BROKE_OFF}


class Trail:
    """What a request leaves behind for those who ask later; here as it is for one that does not come that far."""

    deps: Collaborators
    principal: Principal
    call: Call
    started: float
    meter: Meter
    demand: Demand
    service_class: ServiceClass
    serving: Serving
    pool: Pool
    queued_at: float
    model = ""
    prefix: Prefix = NO_PREFIX
    pools: tuple[Pool, ...] = ()
    snapshot: RoutingSnapshot | None = None
    """What its worker was chosen from, as `routing.serving` noted it."""
    waiting = 0
    """Requests in line, itself included, when it began to wait."""
    tries: tuple[FailedTry, ...] = ()
    """Those that failed."""
    limits = b""
    """The rate-limit lines of its answer."""


def in_short(request: Trail) -> bytes:
    """The decision as its header tells it, when the answer begins."""
    meter = request.meter
    if not meter.queue_seconds and not request.tries and request.snapshot is not None:
        return heads.at_once(request.service_class, request.pool, request.serving.choice.name, meter.worker_id)
    if request.snapshot is None:
        return heads.otherwise(request.service_class, "queued")
    decision = heads.chosen(request.service_class, request.pool, request.serving.choice.name, meter.worker_id)
    return decision + heads.effort(meter.queue_seconds, len(request.tries) + 1)


def turned_away(request: Trail, error: PenstockError, now: float) -> bytes:
    """The lines of identity for a request that is refused."""
    call = request.call
    decision = heads.otherwise(_class(request), f"refused={error.code}")
    decision += heads.effort(now - request.queued_at if request.waiting else 0.0, len(request.tries))
    return heads.identity(call.request_id, call.client_request_id, decision)


def settled(request: Trail, outcome: Outcome, count: TokenCount, now: float) -> None:
    """A worker was at it: done, broken off, or left by the client."""
    deps, seconds = request.deps, now - request.started
    ended = _outcome_of(request, now, 200, _CODES[outcome], "", count)
    deps.observer.record_outcome(ended)
    rules = deps.rules
    if (slow := seconds > rules.slow_request_seconds) or rules.log_requests:
        request_log.finished(request.principal, request.call, request.model, request.meter, outcome, count, seconds, slow=slow)
    deps.decisions.note(ended)


def failed(request: Trail, error: PenstockError, now: float, *, asked: bool) -> None:
    """Nothing was used. `asked`: a worker was, at least."""
    ended = _outcome_of(request, now, error.status, error.code, error.message, None)
    if asked:
        request.deps.observer.record_outcome(ended)
    request.deps.decisions.note(ended)


def replayed(request: Trail, status: int, now: float) -> None:
    """It was answered with what the first request of its Idempotency-Key got."""
    request.deps.decisions.note(_outcome_of(request, now, status, REPLAYED, "", None))


def left(request: Trail, now: float) -> None:
    """The client left while its request was waiting."""
    request.deps.decisions.note(_outcome_of(request, now, 0, CLIENT_LEFT, "", None))


def _outcome_of(request: Trail, now: float, status: int, code: str, message: str, count: TokenCount | None) -> RequestOutcome:
    """The only place that makes one. By position: 25 keywords would cost 5 us a request; a test compares every field by its name."""
    call, started = request.call, request.started
    meter: Meter | None = getattr(request, "meter", None)
    return RequestOutcome(
        call.request_id,
        request.principal,
        _class(request),
        call.operation,
        request.model,
        getattr(request, "demand", None),
        request.pools,
        getattr(request, "pool", None),
        "" if meter is None else meter.tier,
        "" if meter is None else meter.worker_id,
        request.snapshot,
        request.waiting,
        # A request that was refused in the queue has waited until now.
        0.0 if meter is None else meter.queue_seconds or (now - request.queued_at if request.waiting and count is None else 0.0),
        request.tries,
        0 if meter is None else meter.retries,
        started,
        None if meter is None else meter.first_token_at,
        now,
        request.deps.time() - (now - started) if meter is None else meter.started_wall,
        status,
        code,
        message,
        count,
        request.limits,
        call.timeout_seconds,
    )


def _class(request: Trail) -> ServiceClass:
    asked = request.call.service_class
    return request.principal.plan.service_class if asked is None else asked
