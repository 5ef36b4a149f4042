"""What is told of a request that is over: to the observer, the log, and whoever may ask later why it went as it did."""

from typing import Final

from penstock.domain.call import Call, Demand
from penstock.domain.errors import PenstockError
from penstock.domain.inference import OPERATION_NAMES, TokenCount
from penstock.domain.principal import Pool, Principal, ServiceClass
from penstock.domain.usage import Outcome
from penstock.serving.pipeline import heads, request_log
from penstock.serving.pipeline.rooms import Rooms
from penstock.serving.routing.prefix import NO_PREFIX, Prefix
from penstock.serving.routing.serving import Serving
from penstock.serving.usage.meter import Meter

CLIENT_LEFT: Final = "client_left"
REPLAYED: Final = "replayed"
BROKE_OFF: Final = "upstream_failed"
_NAMES: Final = OPERATION_NAMES
_CODES: Final = {Outcome.COMPLETED: "", Outcome.CLIENT_LEFT: CLIENT_LEFT, Outcome.FAILED: BROKE_OFF}


class Trail:
    """What a request leaves behind for those who ask later; here as it is for one that does not come that far."""

    rooms: Rooms
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
    meter = request.meter
    if not meter.queue_seconds and not request.tries and request.seen is not None:
        return heads.at_once(request.service_class, request.pool, request.serving.choice.name, meter.worker_id)
    if request.seen is None:
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
    rooms, meter, started = request.rooms, request.meter, request.started
    _observe(request, meter, 200, now - started, count)
    rules = rooms.rules
    if (slow := now - started > rules.slow_request_seconds) or rules.log_requests:
        request_log.finished(request.principal, request.call, request.model, meter, outcome, count, now - started, slow=slow)
    call = request.call
    # In the shape of `explain.decision.Decision`; a plain tuple, as this is done for every request.
    rooms.decisions.note(
        (
            call.request_id,
            request.principal,
            request.service_class,
            request.model,
            request.demand,
            request.pools,
            request.pool,
            meter.tier,
            meter.worker_id,
            request.seen,
            request.waiting,
            meter.queue_seconds,
            request.tries,
            started,
            meter.first_token_at,
            now,
            meter.started_wall,
            200,
            _CODES[outcome],
            "",
            count.completion,
            request.limits,
            call.timeout_seconds,
        )
    )


def failed(request: Trail, error: PenstockError, now: float, *, asked: bool) -> None:
    """Nothing was used. `asked`: a worker was, at least."""
    meter: Meter | None = getattr(request, "meter", None)
    if asked and meter is not None:
        _observe(request, meter, error.status, now - request.started, None)
    _note(request, error.status, error.code, error.message, now)


def replayed(request: Trail, status: int, now: float) -> None:
    """It was answered with what the first request of its Idempotency-Key got."""
    _note(request, status, REPLAYED, "", now)


def left(request: Trail, now: float) -> None:
    """The client left while its request was waiting."""
    _note(request, 0, CLIENT_LEFT, "", now)


def _observe(request: Trail, meter: Meter, status: int, seconds: float, count: TokenCount | None) -> None:
    request.rooms.observer.over(
        request.model,
        _NAMES[request.call.operation],
        meter.tier,
        status,
        seconds,
        meter.queue_seconds,
        None if meter.first_token_at is None else meter.first_token_at - request.started,
        count,
        meter.retries,
    )


def _note(request: Trail, status: int, code: str, message: str, now: float) -> None:
    """Of a request that no worker has served; it may not have come as far as to have a demand or a meter."""
    rooms, call = request.rooms, request.call
    meter: Meter | None = getattr(request, "meter", None)
    rooms.decisions.note(
        (
            call.request_id,
            request.principal,
            _class(request),
            request.model,
            getattr(request, "demand", None),
            request.pools,
            getattr(request, "pool", None),
            "",
            "" if meter is None else meter.worker_id,
            request.seen,
            request.waiting,
            # Whoever was turned away from the line has waited until then.
            0.0 if meter is None else meter.queue_seconds or (now - request.queued_at if request.waiting else 0.0),
            request.tries,
            request.started,
            None,
            now,
            rooms.time() - (now - request.started),
            status,
            code,
            message,
            0,
            request.limits,
            call.timeout_seconds,
        )
    )


def _class(request: Trail) -> ServiceClass:
    asked = request.call.service_class
    return request.principal.plan.service_class if asked is None else asked
