"""Asking for tasks."""

from dataclasses import dataclass
from enum import StrEnum

from penstock.domain.durable.tasks import Task, TaskStatus


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks of one organisation; every part that is given must hold."""

    statuses: frozenset[TaskStatus] = frozenset()
    queue: str | None = None
    kind: str | None = None
    name: str | None = None
    dag_id: str | None = None
    priority_from: int | None = None
    priority_to: int | None = None
    """Included."""
    tags: tuple[str, ...] = ()
    """All of them."""
    created_from: float | None = None
    created_until: float | None = None
    """Excluded, as are the other ends of time."""
    started_from: float | None = None
    started_until: float | None = None
    finished_from: float | None = None
    finished_until: float | None = None
    text: str = ""
    """Words that all appear in name, payload, result or error; in double quotes as a phrase; a `-` before one excludes it."""
    ids: tuple[str, ...] = ()
    batch_lines: bool = True
    """False: leave out the tasks that are lines of batches."""


class TaskSort(StrEnum):
    CREATED = "created"
    FINISHED = "finished"
    """Lists only tasks that are over."""
    PRIORITY = "priority"


@dataclass(frozen=True, slots=True)
class TaskQuery:
    filter: TaskFilter = TaskFilter()
    sort: TaskSort = TaskSort.CREATED
    ascending: bool = False
    limit: int = 50
    after: str | None = None
    """`TaskPage.next` of the page before."""
    with_total: bool = False
    bodies: bool = False
    """With payloads and results."""


@dataclass(frozen=True, slots=True)
class TaskPage:
    tasks: tuple[Task, ...]
    next: str | None
    """Opaque; None: this was the last page."""
    total: int | None = None
    total_exact: bool = True
    """False: there are at least `total`, or about as many."""
