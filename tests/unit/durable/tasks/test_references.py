"""ResultFiles of parents inside payloads."""

import json
from typing import Any

import pytest

from penstock.domain.durable.tasks import ParentResult, TaskStatus
from penstock.durable.tasks import references
from penstock.durable.tasks.references import UnknownResult

PARENTS = [
    ParentResult("task_a", "a", TaskStatus.SUCCEEDED, '{"rows": [{"n": 1}, {"n": 2}]}'),
    ParentResult("task_b", "b", TaskStatus.FAILED, '{"kept": "although it failed"}'),
]


@pytest.mark.parametrize(
    ("payload", "resolved"),
    [
        ({"$result": "task_a"}, {"rows": [{"n": 1}, {"n": 2}]}),
        ({"x": [{"$result": "task_a", "path": "rows.1.n"}]}, {"x": [2]}),
        ({"x": {"$result": "task_a", "path": "rows.9.n"}}, {"x": None}),
        ({"x": {"$result": "task_a", "path": "rows.n"}}, {"x": None}),
        ({"x": {"$result": "task_b"}}, {"x": None}),
        ({"x": {"$result": "*", "path": "rows.0.n"}}, {"x": [1, None]}),
        ({"$result": "task_a", "other": 1}, {"$result": "task_a", "other": 1}),
        ({"$result": 5}, {"$result": 5}),
    ],
)
def test_references_are_replaced_by_parent_results(payload: Any, resolved: Any) -> None:
    assert json.loads(references.resolve(json.dumps(payload), PARENTS)) == resolved


def test_local_names_are_replaced_by_task_ids() -> None:
    bound = references.bind('{"x": {"$result": "left"}, "y": {"$result": "*"}}', {"left": "task_a"})
    assert json.loads(bound) == {"x": {"$result": "task_a"}, "y": {"$result": "*"}}


def test_reference_to_a_task_that_is_not_a_parent_is_refused() -> None:
    with pytest.raises(UnknownResult, match="'right', which is not a parent"):
        references.bind('{"$result": "right"}', {"left": "task_a"})


def test_a_payload_without_references_is_not_looked_into() -> None:
    assert not references.mentions('{"result": "task_a"}')
