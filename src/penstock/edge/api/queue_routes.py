"""Queues and schedules of an organisation."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from penstock.accounts.permissions import not_found
from penstock.domain.durable.queues import QueueLimits, QueueState
from penstock.durable.tasks.service import ScheduleChanges
from penstock.edge.api.task_shapes import ScheduleBody, ScheduleChange, ScheduleList, ScheduleView, schedule_view
from penstock.edge.layers.access import Services, TaskWriter
from penstock.edge.layers.documented_errors import body_problems, problems
from penstock.edge.layers.shapes import WHOLE, After, Body, Flag, Id, Limit, View, page

router = APIRouter(prefix="/api", tags=["Queues and schedules"])

QueueName = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class QueueView(View):
    name: str
    paused: bool
    max_running: int | None
    rate_per_second: float | None
    blocked: int
    scheduled: int
    ready: int
    running: int
    oldest_ready_at: float | None


class QueueList(View):
    data: list[QueueView]


class QueueChange(Body):
    """A field that is left out stays as it is; null takes a limit away."""

    paused: Flag | None = None
    max_running: Annotated[int | None, Field(ge=0, le=1_000_000), WHOLE] = None
    rate_per_second: Annotated[float | None, Field(strict=True, gt=0, le=1_000_000, allow_inf_nan=False)] = None


@router.get("/queues", responses=problems(404, 422), summary="List queues")
async def list_queues(caller: TaskWriter, services: Services) -> QueueList:
    return QueueList(data=[_queue_view(state) for state in await services.tasks.store.queues(caller.org_id)])


@router.patch("/queues/{queue}", responses=body_problems(404), summary="Limit a queue")
async def limit_queue(queue: QueueName, body: QueueChange, caller: TaskWriter, services: Services) -> QueueView:
    """A queue comes into being with its first task or its first limit."""
    given = body.model_fields_set
    old = (await _state(services, caller.org_id, queue)).limits
    limits = QueueLimits(
        paused=old.paused if body.paused is None else body.paused,
        max_running=body.max_running if "max_running" in given else old.max_running,
        rate_per_second=body.rate_per_second if "rate_per_second" in given else old.rate_per_second,
    )
    await services.tasks.store.limit_queue(caller.org_id, queue, limits)
    return _queue_view(await _state(services, caller.org_id, queue))


@router.post("/queues/{queue}/pause", responses=problems(404, 422), summary="Start nothing more from a queue")
async def pause_queue(queue: QueueName, caller: TaskWriter, services: Services) -> QueueView:
    """What runs goes on."""
    return await limit_queue(queue, QueueChange(paused=True), caller, services)


@router.post("/queues/{queue}/resume", responses=problems(404, 422), summary="Go on with a queue")
async def resume_queue(queue: QueueName, caller: TaskWriter, services: Services) -> QueueView:
    return await limit_queue(queue, QueueChange(paused=False), caller, services)


@router.get("/schedules", responses=problems(404, 422), summary="List schedules")
async def list_schedules(caller: TaskWriter, services: Services, limit: Limit = 1000, after: After = None) -> ScheduleList:
    found = [schedule_view(schedule) for schedule in await services.tasks.store.schedules(caller.org_id)]
    return ScheduleList.model_validate(page(found, limit, after, lambda schedule: schedule.id))


@router.post("/schedules", status_code=201, responses=body_problems(404, 409), summary="Make tasks by the calendar")
async def create_schedule(body: ScheduleBody, caller: TaskWriter, services: Services) -> ScheduleView:
    schedule = await services.tasks.service.create_schedule(
        caller,
        name=body.name,
        cron=body.cron,
        time_zone=body.time_zone,
        missed=body.missed,
        task=body.task.spec(),
        paused=body.paused,
    )
    return schedule_view(schedule)


@router.get("/schedules/{schedule_id}", responses=problems(404, 422), summary="Show a schedule")
async def show_schedule(schedule_id: Id, caller: TaskWriter, services: Services) -> ScheduleView:
    return schedule_view(await services.tasks.service.schedule(caller, schedule_id))


@router.patch("/schedules/{schedule_id}", responses=body_problems(404, 409), summary="Change a schedule")
async def change_schedule(schedule_id: Id, body: ScheduleChange, caller: TaskWriter, services: Services) -> ScheduleView:
    """From then on it runs on behalf of the caller."""
    changes = ScheduleChanges(
        name=body.name,
        cron=body.cron,
        time_zone=body.time_zone,
        missed=body.missed,
        task=None if body.task is None else body.task.spec(),
        paused=body.paused,
    )
    return schedule_view(await services.tasks.service.change_schedule(caller, schedule_id, changes))


@router.delete("/schedules/{schedule_id}", status_code=204, responses=problems(404, 422), summary="Remove a schedule")
async def remove_schedule(schedule_id: Id, caller: TaskWriter, services: Services) -> None:
    """Tasks that it made stay."""
    if not await services.tasks.store.remove_schedule(caller.org_id, schedule_id):
        raise not_found("schedule")


async def _state(services: Services, org_id: str, name: str) -> QueueState:
    for state in await services.tasks.store.queues(org_id):
        if state.name == name:
            return state
    return QueueState(name, QueueLimits(), 0, 0, 0, 0, None)


def _queue_view(state: QueueState) -> QueueView:
    limits = state.limits
    return QueueView(
        name=state.name,
        paused=limits.paused,
        max_running=limits.max_running,
        rate_per_second=limits.rate_per_second,
        blocked=state.blocked,
        scheduled=state.scheduled,
        ready=state.ready,
        running=state.running,
        oldest_ready_at=state.oldest_ready_at,
    )
