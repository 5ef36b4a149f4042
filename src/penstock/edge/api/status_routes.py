"""Who am I, which plans are there, how is the gateway."""

from collections import Counter
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from penstock.domain.errors import PortUnavailable
from penstock.domain.principal import Plan, Scope, ServiceTier
from penstock.domain.workers import WorkerState
from penstock.edge.layers.access import Caller, Services
from penstock.edge.layers.documented_errors import problems
from penstock.edge.layers.services import ControlServices
from penstock.edge.layers.shapes import ListView, View

router = APIRouter(prefix="/api", tags=["Status"])


class PlanView(View):
    name: str
    service_class: Annotated[str, Field(description="Who waits behind whom: system, enterprise, premium, free, batch.")]
    default_tier: ServiceTier
    tiers: list[ServiceTier]
    requests_per_minute: int
    tokens_per_minute: int
    concurrency: Annotated[int, Field(description="Requests at a time of the whole organisation.")]
    spill: Annotated[bool, Field(description="A request of the default tier may use another pool when its own is full.")]
    file_bytes: Annotated[int, Field(description="All files that an organisation uploads, together.")]
    tasks: Annotated[int, Field(description="Tasks in the store, ended ones included, beyond which none can be submitted.")]
    schedules: int
    workers: Annotated[int, Field(description="Workers and runners of its own, together.")]


class PlanList(ListView):
    data: list[PlanView]


class Me(View):
    org_id: str
    org_name: str
    key_id: str
    scopes: list[Scope]
    plan: PlanView


class Status(View):
    version: str
    ready: bool
    problems: Annotated[list[str], Field(description="Why it is not ready.")]
    store: Literal["ok", "unavailable"]
    workers: Annotated[dict[WorkerState, int], Field(description="How many are in each state.")]
    requests_in_flight: int
    queue_length: int
    queues: Annotated[
        dict[str, int], Field(description="Waiting requests by model. Models that only other organisations have are one: `private`.")
    ]
    uptime_seconds: float


@router.get("/me", responses=problems(), summary="Show the caller")
async def me(caller: Caller, services: Services) -> Me:
    organisation = await services.store.accounts.organisation(caller.org_id)
    return Me(
        org_id=caller.org_id,
        org_name=organisation.name if organisation else "",
        key_id=caller.actor_id,
        scopes=sorted(caller.scopes),
        plan=_plan(caller.plan),
    )


@router.get("/plans", responses=problems(), summary="List plans")
async def list_plans(caller: Caller, services: Services) -> PlanList:
    return PlanList(data=[_plan(plan) for plan in await services.store.accounts.plans()], has_more=False)


@router.get("/status", responses=problems(), summary="Show how the gateway is")
async def status(caller: Caller, services: Services) -> Status:
    """Answers while the store is gone too, for a caller who is known by then."""
    reasons = services.readiness.problems()
    states = Counter(worker.state for worker in services.workers.snapshot())
    queues = dict(services.workers.queues((caller.org_id,)))
    return Status(
        version=services.version,
        ready=not reasons,
        problems=reasons,
        store="ok" if await _store_answers(services) else "unavailable",
        workers={state: states[state] for state in WorkerState},
        requests_in_flight=services.workers.in_flight(),
        queue_length=sum(queues.values()),
        queues=queues,
        uptime_seconds=services.uptime(),
    )


async def _store_answers(services: ControlServices) -> bool:
    try:
        await services.store.check()
    except PortUnavailable:
        return False
    return True


def _plan(plan: Plan) -> PlanView:
    return PlanView(
        name=plan.name,
        service_class=plan.service_class.name.lower(),
        default_tier=plan.default_tier,
        tiers=list(plan.tiers),
        requests_per_minute=plan.requests_per_minute,
        tokens_per_minute=plan.tokens_per_minute,
        concurrency=plan.concurrency,
        spill=plan.spill,
        file_bytes=plan.file_bytes,
        tasks=plan.tasks,
        schedules=plan.schedules,
        workers=plan.workers,
    )
