"""Which tasks a caller means: as the query of a list, and as the body of an action on many tasks."""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from penstock.domain.durable.task_search import TaskFilter, TaskQuery, TaskSort
from penstock.domain.durable.tasks import TaskStatus
from penstock.edge.api.task_shapes import Priority, Queue, StoredKind, Tag, TaskName
from penstock.edge.layers.shapes import PRINTABLE, Body, Flag, TimeFilter

_PLAIN = ("queue", "kind", "name", "dag_id", "priority_from", "priority_to")
_TIMES = ("created_from", "created_until", "started_from", "started_until", "finished_from", "finished_until")
TaskId = Annotated[str, Field(min_length=1, max_length=64)]
_BATCH_LINES = "Also the lines of batches, which are left out unless `ids`, `dag_id` or `q` ask for them."
Moment = Annotated[float | None, Field(strict=True, ge=0, le=253_402_300_799.0, description="Unix seconds.")]


class FilterBody(Body):
    """Every part that is given must hold; ends of ranges of time are excluded."""

    ids: Annotated[tuple[TaskId, ...], Field(min_length=1, max_length=10_000)] = ()
    status: Annotated[tuple[TaskStatus, ...], Field(min_length=1, max_length=8)] = ()
    queue: Queue | None = None
    kind: StoredKind | None = None
    name: TaskName | None = None
    dag_id: Annotated[str | None, Field(max_length=64)] = None
    priority_from: Priority | None = None
    priority_to: Priority | None = None
    tags: Annotated[tuple[Tag, ...], Field(min_length=1, max_length=20)] = ()
    created_from: Moment = None
    created_until: Moment = None
    started_from: Moment = None
    started_until: Moment = None
    finished_from: Moment = None
    finished_until: Moment = None
    q: Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")] = ""
    batch_lines: Annotated[Flag, Field(description=_BATCH_LINES)] = False

    @property
    def is_empty(self) -> bool:
        """Nothing narrows it: it finds every task."""
        return not self.model_dump(exclude_defaults=True, exclude={"batch_lines"})

    def filter(self) -> TaskFilter:
        return _filter(self, self.tags, self.ids)


class TaskListQuery(BaseModel):
    """The same parts in a query string, where every value is text, and in which order and how many are wanted."""

    model_config = ConfigDict(frozen=True)

    status: Annotated[list[TaskStatus], Query(max_length=8, description="Repeatable.")] = []
    queue: Annotated[str | None, Query(min_length=1, max_length=64, pattern=PRINTABLE)] = None
    kind: StoredKind | None = None
    name: Annotated[str | None, Query(min_length=1, max_length=200, pattern=PRINTABLE)] = None
    dag_id: Annotated[str | None, Query(min_length=1, max_length=64, pattern=PRINTABLE)] = None
    priority_from: Annotated[int | None, Query(ge=1, le=10)] = None
    priority_to: Annotated[int | None, Query(ge=1, le=10)] = None
    tag: Annotated[list[Tag], Query(max_length=20, description="Repeatable: all of them.")] = []
    created_from: TimeFilter = None
    created_until: TimeFilter = None
    started_from: TimeFilter = None
    started_until: TimeFilter = None
    finished_from: TimeFilter = None
    finished_until: TimeFilter = None
    q: Annotated[str, Query(max_length=500, description='Words in name, payload, result, error; "a phrase"; -without.')] = ""
    batch_lines: Annotated[bool, Query(description=_BATCH_LINES)] = False
    sort: TaskSort = TaskSort.CREATED
    order: Literal["asc", "desc"] = "desc"
    limit: Annotated[int, Query(ge=1, le=1_000)] = 50
    after: Annotated[str | None, Query(min_length=1, max_length=512, pattern=PRINTABLE, description="`after` of the last page.")] = None
    total: Annotated[bool, Query(description="Count all of them too, exactly or about.")] = False

    def query(self) -> TaskQuery:
        return TaskQuery(_filter(self, self.tag), self.sort, self.order == "asc", self.limit, self.after, self.total)


def _filter(given: FilterBody | TaskListQuery, tags: tuple[str, ...] | list[str], ids: tuple[str, ...] = ()) -> TaskFilter:
    values = {name: getattr(given, name) for name in (*_PLAIN, *_TIMES)}
    lines = given.batch_lines or bool(given.dag_id or given.q or ids)
    return TaskFilter(**values, statuses=frozenset(given.status), tags=tuple(tags), text=given.q, ids=ids, batch_lines=lines)
