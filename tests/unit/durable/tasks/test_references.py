"""ResultFiles of parents inside payloads."""

import json
from typing import Any

import pytest

from penstock.domain.durable.tasks import ParentResult, TaskStatus
from penstock.durable.tasks.specs import references
from penstock.durable.tasks.specs.references import ResolvedTooLarge, ResultGone, TooDeep, UnknownResult

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
    assert json.loads(references.resolve(json.dumps(payload), PARENTS, 1_000)) == resolved


def test_local_names_are_replaced_by_task_ids() -> None:
    bound = references.bind('{"x": {"$result": "left"}, "y": {"$result": "*"}}', {"left": "task_a"})
    assert json.loads(bound) == {"x": {"$result": "task_a"}, "y": {"$result": "*"}}


def test_reference_to_a_task_that_is_not_a_parent_is_refused() -> None:
    with pytest.raises(UnknownResult, match="'right', which is not a parent"):
        references.bind('{"$result": "right"}', {"left": "task_a"})


def test_a_payload_without_references_is_not_looked_into() -> None:
    assert not references.mentions('{"result": "task_a"}')


LARGE = ParentResult("task_a", "a", TaskStatus.SUCCEEDED, json.dumps({"text": "x" * 800_000, "deep": {"number": 7}}))
MANY = [ParentResult(f"task_{number}", "p", TaskStatus.SUCCEEDED, json.dumps({"v": number})) for number in range(1_000)]


@pytest.mark.parametrize(
    "payload",
    [
        [{"$result": "task_a"}] * 12_000,
        [{"$result": "task_a", "path": "text"}] * 12_000,
        {str(number): {"$result": "task_a", "path": "." * number} for number in range(12)},
        [[{"$result": "*"}] * 30_000],
    ],
    ids=["whole results", "parts", "one part under many paths", "all results"],
)
def test_payload_that_would_grow_beyond_the_limit_is_refused(payload: Any) -> None:
    with pytest.raises(ResolvedTooLarge, match="more than 8000000 bytes"):
        references.resolve(json.dumps(payload), [LARGE], 8_000_000)


def test_all_results_of_many_parents_count_each_time_they_are_used() -> None:
    text = json.dumps([{"$result": "*", "path": "v"}] * 3)
    assert json.loads(references.resolve(text, MANY, 20_000)) == [list(range(1_000))] * 3
    with pytest.raises(ResolvedTooLarge):
        references.resolve(json.dumps([{"$result": "*", "path": "v"}] * 60_000), MANY, 8_000_000)


def test_long_paths_through_many_parents_are_refused() -> None:
    payload = [{"$result": "*", "path": "." * (600 + number)} for number in range(100)]
    with pytest.raises(ResolvedTooLarge, match="paths"):
        references.resolve(json.dumps(payload), MANY, 8_000_000)


def test_small_part_of_a_large_result_may_be_used_often() -> None:
    payload = [{"$result": "task_a", "path": "deep.number"}] * 10_000
    assert json.loads(references.resolve(json.dumps(payload), [LARGE], 500_000)) == [7] * 10_000


def test_limit_is_a_number_of_bytes_and_included() -> None:
    parents = [ParentResult("task_a", "a", TaskStatus.SUCCEEDED, '"ü"')]
    assert references.resolve('[{"$result": "task_a"}]', parents, 6) == '["ü"]'
    with pytest.raises(ResolvedTooLarge):
        references.resolve('[{"$result": "task_a"}]', parents, 5)


def test_result_of_a_deleted_parent_is_an_error_and_not_null() -> None:
    with pytest.raises(ResultGone, match="task_c"):
        references.resolve('{"$result": "task_c"}', PARENTS, 1_000)


def test_named_parents_are_those_of_the_references() -> None:
    assert references.parents_named('[{"$result": "task_a"}, {"x": {"$result": "task_b", "path": "y"}}]') == frozenset({"task_a", "task_b"})
    assert references.parents_named('[{"$result": "task_a"}, {"$result": "*"}]') is None


def test_payload_nested_too_deeply_is_refused_with_a_sentence() -> None:
    with pytest.raises(TooDeep):
        references.bind("[" * 100_000 + '{"$result": "a"}' + "]" * 100_000, {"a": "task_a"})
