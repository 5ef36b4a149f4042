"""What programs get from the client: a task as it stands, and the errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.net.api_client.refusals import Refusal

ENDED = frozenset({"succeeded", "failed", "cancelled", "skipped"})
"""Statuses in which a task stays, unless it is retried."""


class ApiError(Exception):
    """The gateway refused the call. `code` is stable, the message is for people."""

    def __init__(self, refusal: Refusal) -> None:
        known = f" (HTTP {refusal.status}, {refusal.code or 'no code'}, request {refusal.request_id or 'unknown'})"
        super().__init__(refusal.error.message + known)
        self.message = refusal.error.message
        self.status = refusal.status
        self.code = refusal.code
        self.param = refusal.error.param
        self.request_id = refusal.request_id
        self.retry_after_seconds = refusal.error.retry_after_seconds


class GatewayUnreachable(Exception):
    """The gateway did not answer: no connection, or none in time. The message names its address."""


@dataclass(frozen=True, slots=True)
class TaskErrorInfo:
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A task as it was when the gateway was asked. Times are Unix seconds."""

    id: str
    kind: str
    name: str
    status: str
    """`scheduled`, `blocked`, `ready`, `running`, `succeeded`, `failed`, `cancelled` or `skipped`."""
    queue: str
    priority: int
    attempt: int
    """How often it was started."""
    max_attempts: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    tags: tuple[str, ...] = ()
    dag_id: str | None = None
    progress: Any = None
    """What the function last gave to `penstock.progress`."""
    result: Any = None
    error: TaskErrorInfo | None = None
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The gateway's whole answer, also what a later version added."""

    @property
    def ended(self) -> bool:
        return self.status in ENDED


class TaskFailed(Exception):
    """A task ended in another way than `succeeded`; `task` says how."""

    def __init__(self, task: TaskInfo) -> None:
        reason = f": {task.error.message}" if task.error is not None else ""
        super().__init__(f"task {task.id} ({task.name or task.kind}) is {task.status}{reason}")
        self.task = task


_NAMES = (
    "id",
    "kind",
    "name",
    "status",
    "queue",
    "priority",
    "attempt",
    "max_attempts",
    "created_at",
    "started_at",
    "finished_at",
    "dag_id",
    "progress",
)


def read_task(fields: Mapping[str, Any]) -> TaskInfo:
    """From the gateway's JSON object."""
    return TaskInfo(
        **{name: fields.get(name) for name in _NAMES},  # type: ignore[arg-type]  # the gateway's own schema
        tags=tuple(fields.get("tags", ())),
        result=fields.get("result"),
        error=read_error(fields.get("error")),
        fields=fields,
    )


def read_error(fields: Mapping[str, Any] | None) -> TaskErrorInfo | None:
    return None if fields is None else TaskErrorInfo(str(fields["code"]), str(fields["message"]))
