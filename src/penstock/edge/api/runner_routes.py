"""Runners as an operator sees them."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from penstock.accounts.permissions import owned, owns
from penstock.domain.durable.leases import LEASE_SECONDS, RunnerRecord
from penstock.edge.layers.access import Services, WorkerWriter
from penstock.edge.layers.documented_errors import problems
from penstock.edge.layers.services import ControlServices
from penstock.edge.layers.shapes import After, Id, Limit, ListView, Time, View, page

router = APIRouter(prefix="/api/runners", tags=["Runners"])


class RunnerView(View):
    id: Annotated[str, Field(description="A new one for each process.")]
    name: str
    org_id: Annotated[str | None, Field(description="Whose tasks it runs alone; null: every organisation's.")]
    state: Annotated[str, Field(description="ready, draining, or silent.")]
    queues: Annotated[list[str], Field(description="Empty: every queue.")]
    kinds: Annotated[list[str], Field(description="What it can run: kinds, and functions as `function:<name>`.")]
    slots: int
    running: int
    version: str
    token_id: Annotated[str, Field(description="The join token that introduced it; empty: unknown.")]
    joined_at: Time
    last_beat_at: Time


class RunnerList(ListView):
    data: list[RunnerView]


@router.get("", responses=problems(422), summary="List runners")
async def list_runners(caller: WorkerWriter, services: Services, limit: Limit = 1000, after: After = None) -> RunnerList:
    now = services.tasks.store.now()
    seen = [_view(runner, now) for runner in await services.tasks.store.runners() if owns(caller, runner.org_id)]
    return RunnerList.model_validate(page(seen, limit, after, lambda runner: runner.id))


@router.post("/{runner_id}/drain", status_code=204, responses=problems(404, 422), summary="Give a runner nothing new")
async def drain_runner(runner_id: Id, caller: WorkerWriter, services: Services) -> None:
    """What it has, it finishes."""
    await _change(services, caller, runner_id, draining=True)


@router.post("/{runner_id}/resume", status_code=204, responses=problems(404, 422), summary="Give a drained runner tasks again")
async def resume_runner(runner_id: Id, caller: WorkerWriter, services: Services) -> None:
    await _change(services, caller, runner_id, draining=False)


@router.delete("/{runner_id}", status_code=204, responses=problems(404, 422), summary="Expel a runner")
async def remove_runner(runner_id: Id, caller: WorkerWriter, services: Services) -> None:
    """Its identity is forgotten, with all of its processes, and what they hold goes to other runners. It needs a valid join token to come
    back: revoke the one that it has."""
    runner = owned(caller, await services.tasks.store.runner(runner_id), "runner")
    await expel_runner(services, runner)


async def expel_runner(services: ControlServices, runner: RunnerRecord) -> None:
    """Forget every process of its identity."""
    for each in await services.tasks.store.runners():
        if each.id == runner.id or (runner.identity and each.identity == runner.identity):
            await services.tasks.store.forget_runner(each.id)
            services.known_runners.pop(each.id, None)


async def _change(services: Services, caller: WorkerWriter, runner_id: str, *, draining: bool) -> None:
    owned(caller, await services.tasks.store.runner(runner_id), "runner")
    await services.tasks.store.drain_runner(runner_id, draining=draining)


def _view(runner: RunnerRecord, now: float) -> RunnerView:
    silent = runner.last_beat_at < now - LEASE_SECONDS
    return RunnerView(
        id=runner.id,
        name=runner.name,
        org_id=runner.org_id,
        state="silent" if silent else "draining" if runner.draining else "ready",
        queues=list(runner.queues),
        kinds=list(runner.kinds),
        slots=runner.slots,
        running=runner.running,
        version=runner.version,
        token_id=runner.token_id,
        joined_at=runner.joined_at,
        last_beat_at=runner.last_beat_at,
    )
