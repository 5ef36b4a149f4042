"""Tasks, schedules and queues as the control API takes and shows them."""

import math
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from penstock.domain.durable.schedules import MissedRuns, Schedule
from penstock.domain.durable.tasks import EventType, OnParentFailure, Task, TaskDetail, TaskStatus
from penstock.domain.errors import InvalidJson
from penstock.durable.tasks.submission import ParentSpec, TaskSpec
from penstock.edge.layers.shapes import NOT_A_NUMBER, PRINTABLE, WHOLE, Body, Flag, ListView, Name, Time, View

_TEN_YEARS = 10 * 366 * 86_400
_LAST_SECOND = 253_402_300_799.0
Kind = Literal["function", "inference", "webhook"]
StoredKind = Literal["function", "inference", "webhook", "report"]
"""Also what an earlier version accepted and no runner executes: such tasks can still be found, cancelled and deleted."""
Priority = Annotated[int, Field(ge=1, le=10, description="10 is the most urgent."), WHOLE]
Queue = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
TaskName = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Ref = Annotated[str, Field(min_length=1, max_length=100, pattern=PRINTABLE)]
Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=PRINTABLE)]
Span = Annotated[float, Field(strict=True, ge=0, le=_TEN_YEARS, allow_inf_nan=False)]
Wait = Annotated[float, Field(strict=True, gt=0, le=_TEN_YEARS, allow_inf_nan=False)]
IdempotencyKey = Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]
Cron = Annotated[str, Field(min_length=1, max_length=256, description="Five fields, or a short form such as `@daily`.")]
TimeZone = Annotated[str, Field(min_length=1, max_length=64, description="Of the IANA database, such as Europe/Berlin.")]


def _only_numbers(payload: Any) -> Any:
    """JSON has no NaN and no Infinity, which Python's reader takes, also for `1e999`; written again they would be null."""
    pending = [payload]
    while pending:
        match pending.pop():
            case float() as number if not math.isfinite(number):
                raise PydanticCustomError(NOT_A_NUMBER, "NaN and Infinity are not JSON")
            case dict() as fields:
                pending += fields.values()
            case list() as items:
                pending += items
    return payload


Payload = Annotated[
    Any,
    AfterValidator(_only_numbers),
    Field(description='At most 1 MB of JSON; `{"$result": "ref"}` stands for a parent\'s result.'),
]
ParentName = Annotated[str, Field(min_length=1, max_length=100, description="A `ref` of this submission, or the id of a task.")]


def _json(payload: Any) -> msgspec.Raw:
    """Raises InvalidJson."""
    try:
        return msgspec.Raw(msgspec.json.encode(payload))
    except UnicodeEncodeError:  # Python's reader takes what UTF-8 cannot hold
        raise InvalidJson(
            "The request body is not valid JSON: the payload has one half of a surrogate pair alone (\\ud800 to \\udfff).", param="payload"
        ) from None


class ParentBody(Body):
    task: ParentName
    on_failure: OnParentFailure | None = None


class TaskBody(Body):
    kind: Kind = "function"
    name: Annotated[TaskName, Field(description="What people call it; for a function the name it was registered under.")] = ""
    ref: Annotated[Ref | None, Field(description="How other tasks of the same submission name it.")] = None
    payload: Payload = None
    queue: Queue | None = None
    priority: Priority | None = None
    tags: Annotated[tuple[Tag, ...], Field(max_length=20)] = ()
    parents: Annotated[tuple[ParentName | ParentBody, ...], Field(max_length=1_000)] = ()
    on_parent_failure: OnParentFailure = OnParentFailure.FAIL
    run_at: Annotated[float | None, Field(strict=True, ge=0, le=_LAST_SECOND, description="Unix seconds; not before then.")] = None
    delay_seconds: Span | None = None
    expires_in_seconds: Annotated[Wait | None, Field(description="Fails with `expired` when no runner has started it by then.")] = None
    keep_seconds: Annotated[Span | None, Field(description="Deleted that long after its end; null: kept.")] = None
    max_attempts: Annotated[int | None, Field(ge=1, le=1_000), WHOLE] = None
    timeout_seconds: Annotated[float | None, Field(strict=True, gt=0, le=7 * 86_400, description="For one attempt.")] = None
    backoff_seconds: Span | None = None
    backoff_cap_seconds: Span | None = None
    idempotency_key: IdempotencyKey | None = None
    concurrency_key: Annotated[
        IdempotencyKey | None, Field(description="Of the tasks with this key only `max_running_per_key` run at a time.")
    ] = None
    max_running_per_key: Annotated[int | None, Field(ge=1, le=1_000, description="1 unless it is said."), WHOLE] = None
    unique_key: Annotated[
        IdempotencyKey | None, Field(description="While a task with this key has not ended, a submission with it returns that task.")
    ] = None

    def spec(self) -> TaskSpec:
        return TaskSpec(
            kind=self.kind,
            name=self.name,
            ref=self.ref,
            payload=_json(self.payload),
            queue=self.queue,
            priority=self.priority,
            tags=tuple(self.tags),
            parents=tuple(ParentSpec(each) if isinstance(each, str) else ParentSpec(each.task, each.on_failure) for each in self.parents),
            on_parent_failure=self.on_parent_failure,
            run_at=self.run_at,
            delay_seconds=self.delay_seconds,
            expires_in_seconds=self.expires_in_seconds,
            keep_seconds=self.keep_seconds,
            max_attempts=self.max_attempts,
            timeout_seconds=self.timeout_seconds,
            backoff_seconds=self.backoff_seconds,
            backoff_cap_seconds=self.backoff_cap_seconds,
            idempotency_key=self.idempotency_key,
            concurrency_key=self.concurrency_key,
            max_running_per_key=self.max_running_per_key,
            unique_key=self.unique_key,
        )


class SubmissionBody(TaskBody):
    """One task, or many in `tasks`; then nothing else."""

    tasks: Annotated[list[TaskBody] | None, Field(max_length=10_000, min_length=1, description="All of them or none.")] = None


class EnqueuedView(View):
    id: str
    created: Annotated[bool, Field(description="False: this is the task that has the idempotency key, or the unique key, already.")]


class SubmittedView(View):
    id: Annotated[str, Field(description="Of the task, or of the first one.")]
    created: bool
    data: list[EnqueuedView]
    warnings: Annotated[list[str], Field(description="What would keep a task waiting, such as a function that no runner offers.")]


class ErrorView(View):
    code: str
    message: str


class TaskView(View):
    id: str
    kind: str
    name: str
    status: TaskStatus
    queue: str
    priority: int
    tags: list[str]
    dag_id: str | None
    idempotency_key: str | None
    concurrency_key: str | None
    max_running_per_key: int | None
    unique_key: str | None
    key_id: Annotated[str, Field(description="On whose behalf it runs.")]
    attempt: Annotated[int, Field(description="How often it was started.")]
    max_attempts: int
    timeout_seconds: float | None
    created_at: Time
    run_at: float | None
    started_at: float | None
    finished_at: float | None
    expires_at: float | None
    runner: Annotated[str, Field(description="Who has it, or had it last.")]
    cancel_requested: bool
    progress: Any
    error: ErrorView | None


class RelativeView(View):
    id: str
    name: str
    status: TaskStatus
    on_failure: OnParentFailure


class AttemptView(View):
    number: int
    runner: str
    started_at: float
    finished_at: float | None
    outcome: str | None
    error: ErrorView | None


class TaskDetailView(TaskView):
    note: Annotated[str | None, Field(description="Why nothing starts it, where that is known.")]
    payload: Any
    result: Any
    parents: list[RelativeView]
    children: list[RelativeView]
    attempts: list[AttemptView]


class ResultView(View):
    id: str
    status: TaskStatus
    error: ErrorView | None
    result: Any


class ResultList(View):
    data: list[ResultView]
    left: Annotated[list[str], Field(description="Ids that were not looked at, because the answer is large enough: ask for them again.")]


class TaskList(ListView):
    data: list[TaskView]
    after: Annotated[str | None, Field(description="For the next page; null: there is none.")]
    total: int | None
    total_exact: bool


class EventView(View):
    type: EventType
    at: Time
    attempt: int
    runner: str


class EventList(View):
    data: list[EventView]


class LogView(View):
    attempt: Annotated[int, Field(description="From 1; begins again when a finished task is retried.")]
    runner: str
    started_at: Time
    text: Annotated[str, Field(description="What the function printed and logged, its beginning and its end.")]
    left_out_bytes: Annotated[int, Field(description="From the middle of it, because it was more than a runner keeps.")]


class LogList(View):
    data: list[LogView]


class EdgeView(View):
    parent: str
    child: str
    on_failure: OnParentFailure


class DagView(View):
    id: str
    counts: Annotated[dict[str, int], Field(description="Of all its tasks, by status.")]
    data: list[TaskView]
    edges: list[EdgeView]


class ScheduleBody(Body):
    name: Name
    cron: Cron
    time_zone: TimeZone = "UTC"
    missed: Annotated[MissedRuns, Field(description="What becomes of runs that nothing was up for.")] = MissedRuns.ONE
    task: TaskBody
    paused: Flag = False


class ScheduleChange(Body):
    name: Name | None = None
    cron: Cron | None = None
    time_zone: TimeZone | None = None
    missed: MissedRuns | None = None
    task: TaskBody | None = None
    paused: Flag | None = None


class ScheduleView(View):
    id: str
    name: str
    cron: str
    time_zone: str
    missed: MissedRuns
    task: dict[str, Any]
    paused: bool
    key_id: str
    created_at: Time
    next_at: float | None
    last_at: float | None


class ScheduleList(ListView):
    data: list[ScheduleView]


def task_fields(task: Task) -> dict[str, Any]:
    """What TaskView shows."""
    names = TaskView.model_fields.keys() - {"runner", "progress", "error", "tags"}
    values = {name: getattr(task, name) for name in names}
    error = None if task.error is None else ErrorView(code=task.error.code, message=task.error.message)
    return {**values, "runner": task.runner_id, "progress": decoded(task.progress), "error": error, "tags": list(task.tags)}


def task_view(task: Task) -> TaskView:
    return TaskView(**task_fields(task))


def result_view(task: Task) -> ResultView:
    error = None if task.error is None else ErrorView(code=task.error.code, message=task.error.message)
    return ResultView(id=task.id, status=task.status, error=error, result=decoded(task.result))


def detail_view(detail: TaskDetail, note: str | None) -> TaskDetailView:
    return TaskDetailView(
        note=note,
        **task_fields(detail.task),
        payload=decoded(detail.task.payload),
        result=decoded(detail.task.result),
        parents=[RelativeView.model_validate(each) for each in detail.parents],
        children=[RelativeView.model_validate(each) for each in detail.children],
        attempts=[
            AttemptView(
                number=each.number,
                runner=each.runner_id,
                started_at=each.started_at,
                finished_at=each.finished_at,
                outcome=None if each.outcome is None else each.outcome.value,
                error=None if each.error is None else ErrorView(code=each.error.code, message=each.error.message),
            )
            for each in detail.attempts
        ],
    )


def schedule_view(schedule: Schedule) -> ScheduleView:
    names = ScheduleView.model_fields.keys() - {"task"}
    return ScheduleView(**{name: getattr(schedule, name) for name in names}, task=msgspec.json.decode(schedule.task))


def decoded(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
