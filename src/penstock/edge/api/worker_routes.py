"""Workers and upstreams as an operator sees and steers them."""

from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Query
from pydantic import Field

from penstock.accounts.permissions import owned, owns
from penstock.domain.errors import Conflict
from penstock.domain.principal import Pool, Principal
from penstock.domain.workers import PLAIN_ACCESS, ModelOffer, ShownState, UpstreamAccess, WorkerKind, WorkerLoad, WorkerRecord, WorkerState
from penstock.edge.joining.worker_urls import upstream_url
from penstock.edge.layers.access import Admin, Services, WorkerWriter
from penstock.edge.layers.documented_errors import body_problems, problems
from penstock.edge.layers.problems import InvalidFields
from penstock.edge.layers.services import ControlServices, LiveWorker
from penstock.edge.layers.shapes import After, Id, Limit, ListView, ModelId, Name, Time, Url, View, page
from penstock.net.upstream_tls import TlsProblem, upstream_tls
from penstock.wire.joining.workers import Offer, SlotCount
from penstock.wire.upstream_access import AccessBody

router = APIRouter(prefix="/api/workers", tags=["Workers"])

LogLines = Annotated[int, Query(ge=1, le=2000, description="How many.")]
Secret = Annotated[str, Field(max_length=4096, pattern=r"^[!-~]*$", description="Presented as `Authorization: Bearer`.")]


class OfferView(View):
    id: str
    engine_name: str
    context_length: int | None
    capabilities: list[str]


class LoadView(View):
    running: int
    waiting: int
    kv_usage: float
    ttft_seconds: float | None


class AccessView(View):
    """What is secret is not shown, only that it is there."""

    query: str
    headers: dict[str, str]
    secret_headers: list[str]
    has_ca: bool
    has_client_certificate: bool
    has_proxy: bool
    probe_path: str | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    normalise_reasoning: bool


class WorkerView(View):
    id: str
    name: str
    kind: WorkerKind
    engine: str
    base_url: str
    models: list[OfferView]
    slots: int
    pool: Pool | None
    org_id: Annotated[str | None, Field(description="Serves this organisation alone; null: every one.")]
    has_secret: bool
    version: str
    token_id: Annotated[str, Field(description="The join token that introduced it; empty: unknown, or an upstream.")]
    joined_at: Time
    last_seen_at: Time
    state: Annotated[ShownState, Field(description="As the gateway that answers sees it.")]
    state_since: Annotated[float | None, Field(description="Unix seconds; null: before this gateway started.")]
    host: Annotated[str, Field(description="Name of its machine; of an upstream the host of its address.")]
    last_error: Annotated[str, Field(description="Why this gateway could not connect to it the last time; empty: it could.")]
    draining: Annotated[bool, Field(description="An operator asked it to drain.")]
    load: LoadView
    in_flight: int
    limit: Annotated[int | None, Field(description="Requests that it gets at the same time: its slots, or fewer.")]
    outstanding_tokens: int
    ejected: bool
    ejected_until: float | None
    resting_until: Annotated[float | None, Field(description="Its rate limit is used up until then.")]
    source: Annotated[
        Literal["store", "gateway"], Field(description="`gateway`: from the settings of the gateway that answers, or found by it.")
    ]
    access: Annotated[AccessView | None, Field(description="How an upstream is called; null for a worker.")]


class WorkerList(ListView):
    data: list[WorkerView]


class LogTail(View):
    lines: Annotated[list[str], Field(description="Oldest first, as the engine wrote them.")]


NamedOffers = Annotated[
    list[ModelId | Offer],
    Field(min_length=1, max_length=1024, description="A model, or just its id; null: the models that it lists itself."),
]


class NewUpstream(AccessBody):
    name: Name
    base_url: Url
    models: NamedOffers | None = None
    slots: SlotCount = 256
    secret: Secret = ""
    pool: Pool | None = None


class UpstreamChange(AccessBody):
    """Only the fields that are sent change. A new `base_url`, `proxy` or `ca` drops every stored secret that is not sent with it."""

    name: Name | None = None
    base_url: Url | None = None
    models: NamedOffers | None = None
    slots: SlotCount | None = None
    secret: Secret | None = None
    pool: Pool | None = None


@router.get("", responses=problems(422), summary="List workers")
async def list_workers(caller: WorkerWriter, services: Services, limit: Limit = 1000, after: After = None) -> WorkerList:
    seen = {worker.id: worker for worker in services.workers.snapshot()}
    stored = await services.store.workers.all()
    known = {record.id for record in stored}
    here = [live.record for live in seen.values() if live.record is not None and live.id not in known]
    own = [record for record in [*stored, *here] if owns(caller, record.org_id)]
    part = page(own, limit, after, lambda record: record.id)
    shown = [_seen(services, record, seen.get(record.id), is_stored=record.id in known) for record in part["data"]]
    return WorkerList(data=shown, has_more=part["has_more"])


@router.post("", status_code=201, responses=body_problems(409, 502), summary="Add an upstream")
async def add_upstream(body: NewUpstream, caller: Admin, services: Services) -> WorkerView:
    """The gateways call it directly. Without `models` it is asked for its list at once."""
    if any(record.kind is WorkerKind.UPSTREAM and record.name == body.name for record in await services.store.workers.all()):
        raise Conflict("There is an upstream of that name.", param="name")
    record = WorkerRecord(
        id=services.new_id("wrk"),
        name=body.name,
        kind=WorkerKind.UPSTREAM,
        engine="openai",
        base_url=upstream_url(body.base_url),
        models=(),
        slots=body.slots,
        pool=body.pool,
        secret=body.secret,
        access=_usable(body.access(PLAIN_ACCESS)),
        joined_at=services.clock.time(),
    )
    return await _keep(services, replace(record, models=await _offers(services, body.models, record)))


@router.get("/{worker_id}", responses=problems(404, 422), summary="Show a worker")
async def show_worker(worker_id: Id, caller: WorkerWriter, services: Services) -> WorkerView:
    live = next((worker for worker in services.workers.snapshot() if worker.id == worker_id), None)
    stored = await services.store.workers.get(worker_id)
    record = owned(caller, stored or (live.record if live is not None else None), "worker")
    return _seen(services, record, live, is_stored=stored is not None)


@router.get("/{worker_id}/logs", responses=problems(404, 422, 502), summary="Read the end of an engine's log")
async def show_log(worker_id: Id, caller: WorkerWriter, services: Services, lines: LogLines = 200) -> LogTail:
    """The last log lines of the server behind a worker (llama-server, vLLM, SGLang). 404 for an engine that has no server of its own."""
    record = await _own(services, caller, worker_id)
    return LogTail(lines=list(await services.workers.log_tail(record, lines)))


@router.patch("/{worker_id}", responses=body_problems(404, 409, 502), summary="Change an upstream")
async def change_upstream(worker_id: Id, body: UpstreamChange, caller: Admin, services: Services) -> WorkerView:
    """Only an upstream can be changed; a worker says itself what it is. A new `base_url` without a `secret` drops the stored one."""
    record = await _own(services, caller, worker_id)
    if record.kind is not WorkerKind.UPSTREAM:
        raise Conflict("This is a worker that joined by itself; only upstreams can be changed here.")
    url = upstream_url(body.base_url) if body.base_url is not None else record.base_url
    access = body.access(record.access)
    if (url, access.proxy, access.ca) != (record.base_url, record.access.proxy, record.access.ca):
        record = replace(record, secret="", access=replace(record.access, **_NO_SECRETS))
        access = body.access(record.access)
    changed = replace(
        record,
        name=body.name or record.name,
        base_url=url,
        secret=record.secret if body.secret is None else body.secret,
        slots=body.slots or record.slots,
        pool=body.pool if "pool" in body.model_fields_set else record.pool,
        access=_usable(access),
    )
    if "models" in body.model_fields_set:
        changed = replace(changed, models=await _offers(services, body.models, changed))
    elif access.probe_path is not None and not changed.models:
        raise InvalidFields([("models", "name them: nothing is asked for its list.")])
    return await _keep(services, changed)


@router.delete("/{worker_id}", status_code=204, responses=problems(404, 422), summary="Remove a worker")
async def remove_worker(worker_id: Id, caller: WorkerWriter, services: Services) -> None:
    """Its identity is forgotten: a worker that still runs needs a join token to come back."""
    await _own(services, caller, worker_id)
    await services.store.workers.remove(worker_id)
    services.workers.worker_left(worker_id)


@router.post("/{worker_id}/drain", responses=problems(404, 422), summary="Drain a worker")
async def drain_worker(worker_id: Id, caller: WorkerWriter, services: Services) -> WorkerView:
    """It finishes what it has and gets nothing new, until it is resumed."""
    return await _keep(services, replace(await _own(services, caller, worker_id), draining=True))


@router.post("/{worker_id}/resume", responses=problems(404, 422), summary="Resume a drained worker")
async def resume_worker(worker_id: Id, caller: WorkerWriter, services: Services) -> WorkerView:
    return await _keep(services, replace(await _own(services, caller, worker_id), draining=False))


async def _own(services: ControlServices, caller: Principal, worker_id: str) -> WorkerRecord:
    """One that can be changed."""
    stored = await services.store.workers.get(worker_id)
    if stored is None and owns(caller, None) and any(live.id == worker_id and live.record for live in services.workers.snapshot()):
        raise Conflict("This upstream is not in the store: the settings of the gateway name it, or it was found on its machine.")
    return owned(caller, stored, "worker")


def _usable(access: UpstreamAccess) -> UpstreamAccess:
    """Raises InvalidFields for certificates that cannot be used."""
    if access.client_key and not access.client_certificate:
        raise InvalidFields([("client_key", "it needs `client_certificate`.")])
    for field, texts in (("ca", (access.ca, "", "")), ("client_certificate", ("", access.client_certificate, access.client_key))):
        if any(texts):
            try:
                upstream_tls(*texts)
            except TlsProblem as error:
                raise InvalidFields([(field, f"{error}.")]) from None
    return access


async def _offers(services: ControlServices, given: list[ModelId | Offer] | None, upstream: WorkerRecord) -> tuple[ModelOffer, ...]:
    if given is not None:
        return tuple(ModelOffer(each) if isinstance(each, str) else each.offer() for each in given)
    if upstream.access.probe_path is not None:
        raise InvalidFields([("models", "name them: nothing is asked for its list.")])
    listed = tuple(await services.workers.probe_upstream(upstream))
    if not listed:
        raise InvalidFields([("models", "the upstream lists none; name them.")])
    return listed


async def _keep(services: ControlServices, record: WorkerRecord) -> WorkerView:
    await services.store.workers.save(record)
    services.workers.worker_joined(record)
    return _shown(services, record)


def _shown(services: ControlServices, record: WorkerRecord) -> WorkerView:
    return _seen(services, record, next((worker for worker in services.workers.snapshot() if worker.id == record.id), None))


def _seen(services: ControlServices, record: WorkerRecord, live: LiveWorker | None, *, is_stored: bool = True) -> WorkerView:
    held = services.workers.is_held(record.id)
    return view(record, live, held=held, is_stored=is_stored)


def shown_state(record: WorkerRecord, live: LiveWorker | None, *, held: bool = False) -> tuple[ShownState, float | None]:
    """And since when (Unix seconds); None: this gateway has not seen it change."""
    if held:
        return ShownState.HELD, None
    if record.left_at:
        return ShownState.STOPPED, record.left_at
    if live is None:
        return ShownState.JOINING, record.joined_at or None
    unseen = live.state in (WorkerState.JOINING, WorkerState.SUSPECT, WorkerState.DEAD)
    if unseen and live.error and (record.kind is WorkerKind.UPSTREAM or live.reports):
        return ShownState.UNREACHABLE, live.since
    if live.state is WorkerState.DEAD:
        return ShownState.LOST, record.last_seen_at or live.since
    return ShownState(live.state.value), live.since


_NO_SECRETS: dict[str, Any] = {"query": "", "secret_headers": (), "client_certificate": "", "client_key": "", "proxy": ""}
"""What must not reach another server than the one that it was given for."""
_UNSEEN = LiveWorker(id="", state=WorkerState.JOINING, load=WorkerLoad(), in_flight=0, outstanding_tokens=0)


def _access_view(record: WorkerRecord) -> AccessView | None:
    if record.kind is not WorkerKind.UPSTREAM:
        return None
    access = record.access
    return AccessView(
        query=access.query,
        headers=dict(access.headers),
        secret_headers=[name for name, _ in access.secret_headers],
        has_ca=bool(access.ca),
        has_client_certificate=bool(access.client_certificate),
        has_proxy=bool(access.proxy),
        probe_path=access.probe_path,
        requests_per_minute=access.requests_per_minute,
        tokens_per_minute=access.tokens_per_minute,
        normalise_reasoning=access.normalise_reasoning,
    )


def view(record: WorkerRecord, live: LiveWorker | None, *, held: bool = False, is_stored: bool = True) -> WorkerView:
    """The stored record and what this gateway sees of the worker, as one."""
    seen = live or _UNSEEN
    state, since = shown_state(record, live, held=held)
    return WorkerView(
        id=record.id,
        name=record.name,
        kind=record.kind,
        engine=record.engine,
        base_url=record.base_url,
        models=[OfferView.model_validate(offer) for offer in record.models],
        slots=record.slots,
        pool=Pool(record.pool) if record.pool else None,
        org_id=record.org_id,
        has_secret=bool(record.secret),
        version=record.version,
        token_id=record.token_id,
        joined_at=record.joined_at,
        last_seen_at=record.last_seen_at,
        state=state,
        state_since=since,
        host=record.host or urlsplit(record.base_url).hostname or "",
        last_error="" if state in (ShownState.READY, ShownState.STOPPED) and record.kind is WorkerKind.WORKER else seen.error,
        draining=record.draining,
        load=LoadView.model_validate(live.load if live else record.load),
        in_flight=seen.in_flight,
        limit=seen.limit,
        outstanding_tokens=seen.outstanding_tokens,
        ejected=seen.ejected_until is not None,
        ejected_until=seen.ejected_until,
        resting_until=seen.resting_until,
        source="store" if is_stored else "gateway",
        access=_access_view(record),
    )
