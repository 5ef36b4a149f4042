"""What is told of a request that is over: to the observer, the log, and whoever may ask later why it went as it did."""

from penstock.domain.errors import PenstockError
from penstock.domain.inference import OPERATION_NAMES, Call, Demand, TokenCount
from penstock.domain.principal import Pool, Principal, ServiceClass
from penstock.domain.usage import Outcome
from penstock.pipeline import heads, request_log
from penstock.pipeline.rooms import Rooms
from penstock.routing.prefix import NO_PREFIX, Prefix
from penstock.usage.meter import Meter

CLIENT_LEFT = "client_left"
REPLAYED = "replayed"
BROKE_OFF = "upstream_failed"
_CODES = {Outcome.COMPLETED: "", Outcome.CLIENT_LEFT: CLIENT_LEFT, Outcome.FAILED: BROKE_OFF}


class Trail:
    """What a request leaves behind for those who ask later; here as it is for one that does not come that far."""

    rooms: Rooms
    principal: Principal
    call: Call
    started: float
    meter: Meter
    demand: Demand
    service_class: ServiceClass
    pool: Pool
    model = ""
    prefix: Prefix = NO_PREFIX
    pools: tuple[Pool, ...] = ()
    seen: tuple[object, ...] | None = None
    """What its worker was chosen from, as `routing.serving` noted it."""
    waiting = 0
    """Requests in line, itself included, when it began to wait."""
    tries: tuple[tuple[str, str, float, bool], ...] = ()
    """Those that failed: worker, reason, seconds since it came, whether the worker was only full."""
    limits = b""
    """The rate-limit lines of its answer."""


def in_short(request: Trail) -> bytes:
    """The decision as its header tells it, when the answer begins."""
    seen, meter = request.seen, request.meter
    if seen is None:
        return heads.otherwise(request.service_class, "queued")
    decision = heads.chosen(request.service_class, request.pool, str(seen[0]), meter.worker_id)
    if not meter.queue_seconds and not request.tries:
        return decision + heads.AT_ONCE
    return decision + heads.effort(meter.queue_seconds, len(request.tries) + 1)


def turned_away(request: Trail, error: PenstockError, now: float) -> bytes:
    """The lines of identity for a request that is refused."""
    call = request.call
    decision = heads.otherwise(request.principal.plan.service_class, f"refused={error.code}")
    meter: Meter | None = getattr(request, "meter", None)
    decision += heads.effort(now - request.started if meter is not None else 0.0, len(request.tries))
    return heads.identity(call.request_id, call.client_request_id, decision)


def settled(request: Trail, outcome: Outcome, count: TokenCount, now: float) -> None:
    """A worker was at it: done, broken off, or left by the client."""
    rooms, meter, seconds = request.rooms, request.meter, now - request.started
    _observe(request, meter, 200, seconds, count)
    rules = rooms.rules
    if (slow := seconds > rules.slow_request_seconds) or rules.log_requests:
        request_log.finished(request.principal, request.call, request.model, meter, outcome, count, seconds, slow=slow)
    _note(request, meter, request.demand, 200, _CODES[outcome], "", count.completion, seconds)


def failed(request: Trail, error: PenstockError, now: float, *, asked: bool) -> None:
    """Nothing was used. `asked`: a worker was, at least."""
    meter: Meter | None = getattr(request, "meter", None)
    if asked and meter is not None:
        _observe(request, meter, error.status, now - request.started, None)
    demand: Demand | None = getattr(request, "demand", None)
    _note(request, meter, demand, error.status, error.code, error.message, 0, now - request.started)


def replayed(request: Trail, status: int, now: float) -> None:
    """It was answered with what the first request of its Idempotency-Key got."""
    _note(request, None, request.demand, status, REPLAYED, "", 0, now - request.started)


def left(request: Trail, now: float) -> None:
    """The client left while its request was waiting."""
    _note(request, request.meter, request.demand, 0, CLIENT_LEFT, "", 0, now - request.started)


def _observe(request: Trail, meter: Meter, status: int, seconds: float, count: TokenCount | None) -> None:
    request.rooms.observer.over(
        request.model,
        OPERATION_NAMES[request.call.operation],
        meter.tier,
        status,
        seconds,
        meter.queue_seconds,
        None if meter.first_token_at is None else meter.first_token_at - request.started,
        count,
        meter.retries,
    )


def _note(
    request: Trail, meter: Meter | None, demand: Demand | None, status: int, code: str, message: str, completion: int, seconds: float
) -> None:
    """In the shape of `explain.decision.Decision`; a plain tuple, as this is done for every request."""
    principal, call = request.principal, request.call
    first = None if meter is None else meter.first_token_at
    request.rooms.decisions.note(
        (
            call.request_id,
            principal.org_id,
            principal.key_id,
            principal.plan.name,
            getattr(request, "service_class", principal.plan.service_class),
            request.model,
            None if demand is None else demand.service_tier,
            request.pools,
            getattr(request, "pool", ""),
            "" if meter is None else meter.tier,
            "" if meter is None else meter.worker_id,
            request.seen,
            request.waiting,
            0.0 if meter is None else meter.queue_seconds,
            request.tries,
            request.rooms.time() - seconds,
            None if first is None else first - request.started,
            seconds,
            status,
            code,
            message,
            0 if demand is None else demand.prompt_tokens,
            0 if demand is None else demand.max_tokens,
            completion,
            request.limits,
            call.timeout_seconds,
        )
    )
