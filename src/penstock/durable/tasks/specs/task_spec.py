"""A task as a caller asks for it."""

import msgspec

from penstock.domain.durable.tasks import OnParentFailure

_NULL = msgspec.Raw(b"null")


class ParentSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parent: a `ref` of the same submission, or the id of a task that is there."""

    task: str
    on_failure: OnParentFailure | None = None
    """None: as the child says for all its parents."""


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A task as a caller asks for it; None is the kind's own value."""

    kind: str = "function"
    name: str = ""
    ref: str | None = None
    """How other tasks of the same submission name it."""
    payload: msgspec.Raw = _NULL
    queue: str | None = None
    priority: int | None = None
    tags: tuple[str, ...] = ()
    parents: tuple[ParentSpec, ...] = ()
    on_parent_failure: OnParentFailure = OnParentFailure.FAIL
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
    """None: one."""
    unique_key: str | None = None
