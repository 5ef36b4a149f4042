"""The calls of the client, as values: what to send, and how the answer is read. Both clients, with and without asyncio, send them."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote

from penstock.net.api_client.values import ENDED, TaskFailed, TaskInfo, read_error, read_task

Answer = TypeVar("Answer", covariant=True)
MOST_IDS = 1_000
"""The most tasks that one call asks for."""


@dataclass(frozen=True, slots=True)
class ApiCall(Generic[Answer]):
    method: str
    path: str
    read: Callable[[Any], Answer]
    """From the decoded answer."""
    body: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True
    """False: sent twice it would be done twice."""


class HasId(Protocol):
    @property
    def id(self) -> str: ...


TaskRef = HasId | str
"""A task: its handle, its `TaskInfo`, or its id."""


def id_of(task: TaskRef) -> str:
    return task if isinstance(task, str) else task.id


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How a task runs; None: the default of its function, or of its kind. As the fields of `POST /api/tasks`, which explain them."""

    queue: str | None = None
    priority: int | None = None
    tags: Sequence[str] = ()
    parents: Sequence[TaskRef] = ()
    on_parent_failure: str | None = None
    run_at: float | None = None
    delay_seconds: float | None = None
    expires_in_seconds: float | None = None
    keep_seconds: float | None = None
    max_attempts: int | None = None
    timeout_seconds: float | None = None
    backoff_seconds: float | None = None
    backoff_cap_seconds: float | None = None
    idempotency_key: str | None = None
    concurrency_key: str | None = None
    max_running_per_key: int | None = None
    unique_key: str | None = None

    def fields(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in self.__slots__ if name not in ("tags", "parents")}
        given = {name: value for name, value in own.items() if value is not None}
        if self.tags:
            given["tags"] = list(self.tags)
        if self.parents:
            given["parents"] = [id_of(parent) for parent in self.parents]
        return given


DEFAULT_OPTIONS = TaskOptions()


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A task to submit."""

    name: str
    payload: Any = None
    kind: str = "function"
    options: TaskOptions = DEFAULT_OPTIONS
    ref: str | None = None
    """How other tasks of the same submission name it, in `parents` and in `result_of`."""

    def body(self) -> dict[str, Any]:
        body = {"kind": self.kind, "name": self.name, "payload": self.payload, **self.options.fields()}
        return body if self.ref is None else {**body, "ref": self.ref}


def result_of(task: TaskRef, path: str = "") -> dict[str, str]:
    """Stands in a payload for the result of a parent, or for a part of it: `result_of(first, "rows.0.id")`."""
    reference = {"$result": id_of(task)}
    return {**reference, "path": path} if path else reference


def submit(request: TaskRequest) -> ApiCall[str]:
    """Returns the id. A call without an idempotency key gets one, so that it can be repeated when its answer is lost."""
    body = request.body()
    body.setdefault("idempotency_key", f"client-{uuid.uuid4().hex}")
    return ApiCall("POST", "/api/tasks", lambda answer: str(answer["id"]), body)


def submit_many(requests: Sequence[TaskRequest]) -> ApiCall[list[str]]:
    """All or none; returns the ids in the order of the requests."""
    bodies = [request.body() for request in requests]
    repeatable = all("idempotency_key" in body for body in bodies)
    return ApiCall("POST", "/api/tasks", lambda answer: [each["id"] for each in answer["data"]], {"tasks": bodies}, repeatable=repeatable)


def get(task: TaskRef) -> ApiCall[TaskInfo]:
    return ApiCall("GET", f"/api/tasks/{quote(id_of(task), safe='')}", read_task)


def cancel(task: TaskRef) -> ApiCall[str]:
    """Returns the status: a running task is asked to stop, and is `running` until it has."""
    return ApiCall("POST", f"/api/tasks/{quote(id_of(task), safe='')}/cancel", lambda answer: str(answer["status"]), {})


def ended_among(ids: Sequence[str]) -> ApiCall[dict[str, tuple[str, Any, Any]]]:
    """Of at most `MOST_IDS` tasks those that have ended, with status, result and error."""

    def read(answer: Any) -> dict[str, tuple[str, Any, Any]]:
        return {each["id"]: (each["status"], each["result"], each["error"]) for each in answer["data"] if each["status"] in ENDED}

    return ApiCall("POST", "/api/tasks/results", read, {"ids": list(ids)})


def succeeded(task: TaskInfo) -> Any:
    """Its result. Raises TaskFailed."""
    if task.status != "succeeded":
        raise TaskFailed(task)
    return task.result


def outcome(task_id: str, name: str, found: tuple[str, Any, Any]) -> Any:
    """The result of a task that has ended. Raises TaskFailed."""
    status, result, error = found
    if status == "succeeded":
        return result
    raise TaskFailed(TaskInfo(task_id, "", name, status, "", 0, 0, 0, 0.0, None, None, error=read_error(error)))
