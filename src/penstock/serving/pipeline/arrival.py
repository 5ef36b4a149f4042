"""A request arrives: counted, decoded, its model found, its repetition answered, admitted. Only then there is a `Flight`."""

from typing import Final

from penstock.domain.errors import PenstockError
from penstock.domain.inference import OPERATION_PATHS
from penstock.domain.ports import Reply
from penstock.serving.admission.idempotency import Ticket
from penstock.serving.pipeline import ending, heads, intake
from penstock.serving.pipeline.collaborators import Collaborators
from penstock.serving.pipeline.flight import Flight
from penstock.serving.pipeline.record import RequestRecord
from penstock.serving.pipeline.stages import StageRun
from penstock.serving.routing.prefix import NO_PREFIX
from penstock.serving.usage.meter import Meter
from penstock.wire.chat import requests

_PATHS: Final = OPERATION_PATHS
FREE_BODY_BYTES: Final = 64 << 10
"""Bodies up to this size are bounded by requests/min alone."""


def arrive(deps: Collaborators, record: RequestRecord, reply: Reply) -> Flight | None:
    """The admitted request; None: it was answered with what the first request of its Idempotency-Key got.

    Raises the PenstockError that refuses it; `record` then has what was known until there.
    """
    call, principal, now = record.call, record.principal, record.started
    gate = deps.gate if call.service_class is None else deps.task_gate
    limits = gate.enter(principal, now)
    if call.prepare is not None or len(call.body) > FREE_BODY_BYTES:
        intake.open_large(call, limits.bytes, now)
    request = requests.decode(call.operation, call.body, deps.rules.max_json_depth)
    route = deps.routes.get((request.model, principal.org_id)) or deps.route(request.model, principal.org_id)
    if route is None:
        raise intake.unknown_model(deps.catalogue, request.model)
    record.model = model = route.model
    prefix = intake.prefix_of(request, principal.org_id, model) if route.serving.wants_prefix else NO_PREFIX
    record.demand = demand = intake.demand_of(call, request, model, now, deps.rules.default_max_tokens)
    idempotency = None
    if call.idempotency_key is not None:
        idempotency = _first_of_its_key(deps, record, reply, call.idempotency_key)
        if idempotency is None:
            return None
    record.meter = meter = Meter(deps.journal, principal, call, model, route.price, now, deps.time())
    stages = StageRun(deps.stages, record) if deps.stages else None
    try:
        if stages is not None:
            stages.before_admission(request)
        admission = gate.reserve(limits, demand, now)
    except BaseException:
        if stages is not None:
            stages.end(None)
        if idempotency is not None:
            idempotency.abandon()
        raise
    record.pools = admission.choice.pools
    return Flight(deps, record, reply, request, route, prefix, demand, meter, admission, idempotency, stages)


def turn_away(deps: Collaborators, record: RequestRecord, reply: Reply, error: PenstockError) -> None:
    """It was not admitted."""
    deps.observer.record_refusal(error.code)
    now = deps.monotonic()
    record.limits = deps.gate.header_block(record.principal, now)
    reply.refuse(error, ending.refusal_headers(record, error, now) + record.limits)
    ending.failed(deps, record, error, now, asked=False)


def _first_of_its_key(deps: Collaborators, record: RequestRecord, reply: Reply, name: str) -> Ticket | None:
    """The right to answer first; None: there is an answer, and the client has it now."""
    call, principal, now = record.call, record.principal, record.started
    answer = deps.answers.begin(principal.actor_id, name, _PATHS[call.operation], call.body, now, principal.org_id)
    if isinstance(answer, Ticket):
        return answer
    ending.replayed(deps, record, answer.status, now)
    decision = heads.otherwise(principal.plan.service_class, ending.REPLAYED)
    own = heads.identity(call.request_id, call.client_request_id, decision) + deps.gate.header_block(principal, now)
    reply.send(answer.status, answer.headers + own, answer.body)
    return None
