"""The query of a list of tasks and the filter of an action, as they are read into one `TaskFilter`."""

from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from penstock.domain.durable.task_search import TaskFilter, TaskQuery, TaskSort
from penstock.domain.durable.tasks import TaskStatus
from penstock.edge.api.task_filters import FilterBody, TaskListQuery
from penstock.edge.layers.problems import InvalidFields, as_error
from tests.unit.edge.asgi import call, http_scope

COMMON: dict[str, Any] = {
    "queue": "low",
    "kind": "inference",
    "name": "summary",
    "dag_id": "dag_1",
    "priority_from": 2,
    "priority_to": 8,
    "created_from": 1.5,
    "created_until": 2.0,
    "started_from": 3.0,
    "started_until": 4.0,
    "finished_from": 5.0,
    "finished_until": 6.0,
}
WANTED = TaskFilter(statuses=frozenset({TaskStatus.READY, TaskStatus.FAILED}), tags=("a", "b"), text='"two words" -no', **COMMON)


async def read(query: str) -> tuple[TaskQuery | None, list[tuple[str, str]]]:
    """What a route gets for a query string, and the fields that were refused."""
    app, seen = FastAPI(), []

    @app.get("/tasks")
    async def tasks(wanted: Annotated[TaskListQuery, Query()]) -> None:
        seen.append(wanted.query())

    @app.exception_handler(RequestValidationError)
    async def refuse(request: Request, exception: Exception) -> Response:
        error = as_error(exception, "/api/tasks")
        assert isinstance(error, InvalidFields)
        return JSONResponse(error.fields, 422)

    answer = await call(app, http_scope(path="/tasks", query_string=query.encode()))
    return (seen[0], []) if seen else (None, [(name, text) for name, text in answer.json])


async def test_every_part_of_a_query_reaches_the_filter() -> None:
    parts = "&".join(f"{name}={value}" for name, value in COMMON.items())
    query = f"status=ready&status=failed&tag=a&tag=b&q=%22two%20words%22%20-no&sort=priority&order=asc&limit=7&after=x&total=true&{parts}"
    assert await read(query) == (TaskQuery(WANTED, TaskSort.PRIORITY, True, 7, "x", True), [])


async def test_empty_query_asks_for_the_newest_fifty() -> None:
    assert await read("") == (TaskQuery(TaskFilter(batch_lines=False), TaskSort.CREATED, False, 50, None, False), [])


@pytest.mark.parametrize("query", ["q=word", "dag_id=task_1", "batch_lines=true"])
async def test_lines_of_batches_are_found_when_they_are_asked_for(query: str) -> None:
    found, _ = await read(query)
    assert found is not None
    assert found.filter.batch_lines


async def test_query_parameter_that_is_not_known_is_ignored() -> None:
    assert await read("org=org_1&page=3") == (TaskQuery(TaskFilter(batch_lines=False)), [])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("priority_from=x", "priority_from"),
        ("priority_to=11", "priority_to"),
        ("status=nope", "status.0"),
        ("kind=nope", "kind"),
        ("queue=", "queue"),
        ("created_from=-1", "created_from"),
        ("finished_until=nan", "finished_until"),
        ("sort=name", "sort"),
        ("order=up", "order"),
        ("total=perhaps", "total"),
        (f"q={'x' * 501}", "q"),
    ],
)
async def test_query_parameter_out_of_range_is_named(query: str, field: str) -> None:
    assert [name for name, _ in (await read(query))[1]] == [field]


def test_every_part_of_a_filter_body_reaches_the_filter() -> None:
    body = FilterBody(status=(TaskStatus.READY, TaskStatus.FAILED), tags=("a", "b"), q='"two words" -no', ids=("task_1",), **COMMON)
    assert body.filter() == TaskFilter(statuses=WANTED.statuses, tags=WANTED.tags, text=WANTED.text, ids=("task_1",), **COMMON)
