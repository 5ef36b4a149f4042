"""What a worker calls: join, heartbeat, leave. It signs each call with its own key; a token introduces it the first time."""

from dataclasses import replace

from fastapi import APIRouter, Request

from penstock.domain.errors import NotFound
from penstock.domain.workers import WorkerKind, WorkerRecord
from penstock.edge.joining.signed import check_signature, may_join, redeem, unknown_caller
from penstock.edge.joining.worker_urls import check_reach, joined_url
from penstock.edge.layers import signatures
from penstock.edge.layers.access import Services
from penstock.edge.layers.documented_errors import body_problems
from penstock.edge.layers.doorkeeper import client_address
from penstock.edge.layers.problems import InvalidFields
from penstock.edge.layers.services import ControlServices
from penstock.edge.layers.shapes import Id
from penstock.wire.joining.workers import Heartbeat, Join, Joined, WorkerHeartbeatResponse

router = APIRouter(prefix="/api/workers", tags=["Joining"])


@router.post("/join", status_code=201, responses=body_problems(), summary="Join as a worker")
async def join(body: Join, request: Request, services: Services) -> Joined:
    """A known public key may come back without a token, and keeps its id and its organisation."""
    public_key = signatures.decode_public_key(body.public_key)
    if public_key is None:
        raise InvalidFields([("public_key", "not the base64 of 32 bytes.")])
    await check_signature(request, services, public_key)
    known = await services.store.workers.by_public_key(public_key)
    token = None if known else await redeem(request, services, body.token, "worker")
    org_id = known.org_id if known else token.org_id if token else None
    await may_join(services, org_id, is_new=known is None)
    base_url = joined_url(body.base_url, client_address(request.scope))
    if org_id is not None:
        await check_reach(base_url, services.tenant_reach)
    now = services.clock.time()
    record = WorkerRecord(
        id=known.id if known else services.new_id("wrk"),
        name=body.name,
        kind=WorkerKind.WORKER,
        engine=body.engine,
        base_url=base_url,
        models=tuple(offer.offer() for offer in body.models),
        slots=body.slots,
        pool=body.pool,
        org_id=org_id,
        secret=body.secret,
        public_key=public_key,
        draining=known.draining if known else False,
        version=body.version,
        joined_at=now,
        last_seen_at=now,
        token_id=known.token_id if known else token.id if token else "",
        host=body.host,
    )
    await services.store.workers.save(record)
    services.workers.worker_joined(record)
    return Joined(worker_id=record.id, heartbeat_seconds=services.heartbeat_seconds)


@router.post("/{worker_id}/heartbeat", responses=body_problems(404), summary="Report a worker's load")
async def heartbeat(worker_id: Id, body: Heartbeat, request: Request, services: Services) -> WorkerHeartbeatResponse:
    """404 tells the worker to join again."""
    record = await _signer(request, services, worker_id)
    load = body.load()
    if not await services.store.workers.beat(worker_id, load, services.clock.time()):
        raise NotFound("There is no such worker; join again.")
    problem = services.workers.beat(worker_id, load, body.draining)
    return WorkerHeartbeatResponse(draining=record.draining, unreachable=problem)


@router.post("/{worker_id}/leave", status_code=204, responses=body_problems(404), summary="Leave")
async def leave(worker_id: Id, request: Request, services: Services) -> None:
    """Nothing is sent to the worker from now on. Its identity stays known, so that it can come back without a token."""
    record = await _signer(request, services, worker_id)
    await services.store.workers.save(replace(record, left_at=services.clock.time()))
    services.workers.worker_left(worker_id)


async def _signer(request: Request, services: ControlServices, worker_id: str) -> WorkerRecord:
    """The worker of that id, which signed this request."""
    record = await services.store.workers.get(worker_id)
    if record is None or record.kind is not WorkerKind.WORKER:
        raise unknown_caller(request, services, "worker")
    await check_signature(request, services, record.public_key)
    return record
