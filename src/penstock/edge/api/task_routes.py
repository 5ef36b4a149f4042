"""Tasks: submit, look at, search, steer."""

import re
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query, Response
from pydantic import Field

from penstock.accounts.permissions import not_found, require
from penstock.domain.durable.tasks import TaskStatus, events
from penstock.domain.errors import BadRequest, Conflict, Unprocessable
from penstock.domain.principal import Principal, Scope
from penstock.durable.tasks.service import Action
from penstock.edge.api.task_filters import FilterBody, TaskId, TaskListQuery
from penstock.edge.api.task_shapes import (
    DagView,
    EdgeView,
    EnqueuedView,
    EventList,
    EventView,
    LogList,
    LogView,
    Priority,
    ResultList,
    SubmissionBody,
    SubmittedView,
    TaskDetailView,
    TaskList,
    detail_view,
    result_view,
    task_view,
)
from penstock.edge.layers.access import Services, TaskCaller
from penstock.edge.layers.documented_errors import body_problems, problems
from penstock.edge.layers.shapes import Body, Flag, Id, View

router = APIRouter(prefix="/api", tags=["Tasks"])

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class ActionBody(Body):
    action: Action
    filter: FilterBody
    priority: Annotated[Priority | None, Field(description="For `reprioritise`.")] = None
    dry_run: Annotated[Flag, Field(description="Only count; that is what happens when it is left out.")] = True
    all: Annotated[Flag, Field(description="Every task of the organisation: an empty filter is refused without it.")] = False
    with_dependents: Annotated[Flag, Field(description="For `retry`: also what failed or was skipped because of these tasks.")] = False


class ResultsBody(Body):
    ids: Annotated[tuple[TaskId, ...], Field(min_length=1, max_length=1_000)]


class ActedView(View):
    action: Action
    dry_run: bool
    matched: Annotated[int, Field(description="Tasks in a status in which the action does something.")]
    done: int


class StatusView(View):
    id: str
    status: TaskStatus


class WebhookSecretView(View):
    secret: Annotated[str, Field(description="Verifies `webhook-signature`; base64 after `whsec_`.")]


@router.post("/tasks", status_code=201, response_model=SubmittedView, responses=body_problems(404, 409), summary="Submit a task, or many")
async def submit_tasks(
    body: SubmissionBody,
    caller: TaskCaller,
    services: Services,
    traceparent: Annotated[str | None, Header(max_length=128)] = None,
) -> Response:
    """Answered after it is on disk. Of many, all are taken or none; they may name each other by `ref`."""
    if body.tasks is not None and body.model_fields_set != {"tasks"}:
        raise Unprocessable("Give one task, or many in `tasks`, not both.", param="tasks")
    specs = [each.spec() for each in body.tasks] if body.tasks is not None else [body.spec()]
    trace = traceparent if traceparent is not None and _TRACEPARENT.fullmatch(traceparent) else ""
    enqueued = await services.tasks.service.submit(caller, specs, traceparent=trace)
    # A `SubmittedView`, without making a model of each of ten thousand answers.
    warnings = services.tasks.service.functions.not_offered(caller.org_id, [spec.name for spec in specs if spec.kind == "function"])
    answer = {"id": enqueued[0].id, "created": enqueued[0].created, "data": enqueued, "warnings": warnings}
    return Response(msgspec.json.encode(answer), 201, media_type="application/json")


@router.get("/tasks", responses=problems(400, 404, 422), summary="List and search tasks")
async def list_tasks(caller: TaskCaller, services: Services, wanted: Annotated[TaskListQuery, Query()]) -> TaskList:
    """Newest first unless asked otherwise; a page begins where the last one ended, also when new tasks came meanwhile."""
    page = await services.tasks.store.tasks(caller.org_id, wanted.query())
    return TaskList(
        data=[task_view(task) for task in page.tasks],
        has_more=page.next is not None,
        after=page.next,
        total=page.total,
        total_exact=page.total_exact,
    )


@router.post("/tasks/results", responses=body_problems(404), summary="Results of many tasks")
async def list_results(body: ResultsBody, caller: TaskCaller, services: Services) -> ResultList:
    """Of those that are there and over, in the order of their creation; about 8 MB of them at once, `left` is to be asked for again."""
    tasks, left = await services.tasks.service.results(caller, body.ids)
    return ResultList(data=[result_view(task) for task in tasks], left=left)


@router.post("/tasks/actions", responses=body_problems(404, 409), summary="Cancel, retry, delete or reprioritise what a filter finds")
async def act_on_tasks(body: ActionBody, caller: TaskCaller, services: Services) -> ActedView:
    """A dry run unless `dry_run` is false."""
    _require_writer(caller)
    if (body.action is Action.REPRIORITISE) != (body.priority is not None):
        raise Unprocessable("A priority belongs to `reprioritise`, and only to it.", param="priority")
    if body.with_dependents and body.action is not Action.RETRY:
        raise Unprocessable("`with_dependents` belongs to `retry`.", param="with_dependents")
    if body.filter.is_empty and not body.all:
        raise BadRequest(f"An empty filter would {body.action} every task: give a filter, or `all: true`.", param="filter")
    acted = await services.tasks.service.apply(
        caller,
        body.action,
        body.filter.filter(),
        dry_run=body.dry_run,
        priority=body.priority,
        with_dependents=body.with_dependents,
    )
    return ActedView(action=body.action, dry_run=body.dry_run, matched=acted.matched, done=acted.done)


@router.get("/tasks/{task_id}", responses=problems(404, 422), summary="Show a task with parents, children and attempts")
async def show_task(task_id: Id, caller: TaskCaller, services: Services) -> TaskDetailView:
    detail = await services.tasks.service.detail(caller, task_id)
    return detail_view(detail, await services.tasks.service.why_waiting(detail.task))


@router.get("/tasks/{task_id}/events", responses=problems(404, 422), summary="The life of a task")
async def list_task_events(task_id: Id, caller: TaskCaller, services: Services) -> EventList:
    """In the order in which it happened."""
    timeline = events(await services.tasks.service.detail(caller, task_id))
    return EventList(data=[EventView.model_validate(event) for event in timeline])


@router.get("/tasks/{task_id}/logs", responses=problems(404, 422), summary="What a task printed")
async def list_task_logs(task_id: Id, caller: TaskCaller, services: Services) -> LogList:
    """Of each attempt that has printed something, in the order of their starts; of the last 20 attempts.

    What a running attempt printed is there after about two seconds.
    """
    return LogList(
        data=[
            LogView(
                attempt=each.attempt,
                runner=each.runner_id,
                started_at=each.started_at,
                text=each.text,
                left_out_bytes=each.left_out_bytes,
            )
            for each in await services.tasks.service.logs(caller, task_id)
        ]
    )


@router.post("/tasks/{task_id}/cancel", responses=problems(404, 422), summary="Cancel a task")
async def cancel_task(task_id: Id, caller: TaskCaller, services: Services) -> StatusView:
    """A running task is asked to stop; the answer then still says `running`. A finished task stays as it is."""
    return StatusView(id=task_id, status=await services.tasks.service.cancel(caller, task_id))


@router.post("/tasks/{task_id}/retry", responses=problems(404, 409, 422), summary="Run a finished task again")
async def retry_task(
    task_id: Id,
    caller: TaskCaller,
    services: Services,
    with_dependents: Annotated[bool, Query(description="Also what failed or was skipped because of this task.")] = False,
) -> StatusView:
    """It keeps its earlier attempts and runs on behalf of its submitter. Behind parents that are not over it is blocked again."""
    return StatusView(id=task_id, status=await services.tasks.service.retry(caller, task_id, with_dependents=with_dependents))


@router.post("/tasks/{task_id}/clone", status_code=201, responses=problems(404, 422), summary="Submit the same work as a new task")
async def clone_task(task_id: Id, caller: TaskCaller, services: Services) -> EnqueuedView:
    enqueued = await services.tasks.service.clone(caller, task_id)
    return EnqueuedView(id=enqueued.id, created=enqueued.created)


@router.delete("/tasks/{task_id}", status_code=204, responses=problems(404, 409, 422), summary="Delete a finished task")
async def delete_task(task_id: Id, caller: TaskCaller, services: Services) -> None:
    _require_writer(caller)
    if not await services.tasks.store.delete(caller.org_id, [task_id]):
        status = (await services.tasks.service.detail(caller, task_id)).task.status
        if status.is_terminal:
            raise Conflict("A task that waits for this one may need its result: it can be deleted when that one is over.")
        raise Conflict(f"Only a finished task can be deleted; this one is {status}.")


@router.get("/dags/{dag_id}", responses=problems(404, 422), summary="Tasks that depend on each other")
async def show_dag(dag_id: Id, caller: TaskCaller, services: Services) -> DagView:
    """At most 10,000 of its tasks; `counts` are of all."""
    dag = await services.tasks.store.dag(caller.org_id, dag_id)
    if dag is None:
        raise not_found("graph of tasks")
    counts = await services.tasks.store.dag_counts(caller.org_id, dag_id)
    return DagView(
        id=dag.id,
        counts={status.value: count for status, count in counts.items()},
        data=[task_view(task) for task in dag.tasks],
        edges=[EdgeView(parent=parent, child=child, on_failure=rule) for parent, child, rule in dag.edges],
    )


@router.get("/webhook-secret", responses=problems(404, 422), summary="With what webhooks are signed")
async def show_webhook_secret(caller: TaskCaller, services: Services) -> WebhookSecretView:
    """The organisation's own. It changes only with the installation's secret key."""
    _require_writer(caller)
    return WebhookSecretView(secret=services.tasks.webhook_secret(caller.org_id))


def _require_writer(caller: Principal) -> None:
    """What inferences do not need: steering many tasks, secrets. Raises PermissionDenied."""
    require(caller, Scope.TASKS_WRITE)
