"""Which submissions are the same, under one idempotency key."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec
import pytest

from penstock.domain.durable.tasks import OnParentFailure
from penstock.domain.principal import KeyActor
from penstock.durable.tasks.specs.task_spec import ParentSpec, TaskSpec
from penstock.durable.tasks.submission import Submitter, new_tasks

PARENT = "task_0000000000000063"


def spec(payload: str = '{"a":1,"b":{"c":[1,2],"d":2}}', **fields: Any) -> TaskSpec:
    return TaskSpec(**{"name": "f", "payload": msgspec.Raw(payload.encode()), "idempotency_key": "k"} | fields)


def hashes(specs: Sequence[TaskSpec]) -> list[bytes]:
    """In the order of the submission."""
    numbers = count()
    submitter = Submitter("org", KeyActor("key"), lambda now: f"task_{next(numbers):016x}")
    return [task.payload_hash for task in sorted(new_tasks(specs, submitter, 5_000.0), key=lambda task: task.id)]


@pytest.mark.parametrize(
    "other",
    [
        spec('{"b": {"d": 2, "c": [1, 2]}, "a": 1}'),
        spec(ref="another"),
        spec(tags=()),
    ],
    ids=["order and blanks", "local name", "no tags"],
)
def test_same_request_in_another_form_is_the_same(other: TaskSpec) -> None:
    assert hashes([spec()]) == hashes([other])


def test_order_of_tags_does_not_count() -> None:
    assert hashes([spec(tags=("a", "b"))]) == hashes([spec(tags=("b", "a", "a"))])


@pytest.mark.parametrize(
    "fields",
    [
        {"payload": '{"a":1,"b":{"c":[2,1],"d":2}}'},
        {"name": "g"},
        {"kind": "webhook"},
        {"queue": "low"},
        {"priority": 9},
        {"tags": ("x",)},
        {"parents": (ParentSpec(PARENT),)},
        {"run_at": 6_000.0},
        {"delay_seconds": 1.0},
        {"expires_in_seconds": 60.0},
        {"keep_seconds": 60.0},
        {"max_attempts": 2},
        {"timeout_seconds": 2.0},
        {"backoff_seconds": 2.0},
        {"backoff_cap_seconds": 2.0},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_every_other_option_is_another_request(fields: dict[str, Any]) -> None:
    assert hashes([spec()]) != hashes([spec(**fields)])


def test_policy_for_failed_parents_counts_in_the_fingerprint() -> None:
    of_parent = spec(parents=(ParentSpec(PARENT, OnParentFailure.RUN),))
    of_child = spec(parents=(ParentSpec(PARENT),), on_parent_failure=OnParentFailure.RUN)
    default = spec(parents=(ParentSpec(PARENT),))
    assert hashes([of_parent]) != hashes([default])
    assert hashes([of_child]) != hashes([default])


def graph(ref: str, payload: str, **first: Any) -> list[TaskSpec]:
    child = spec(f'{{"x":{{"$result":"{ref}"}}}}', parents=(ParentSpec(ref),))
    return [child, spec(payload, ref=ref, idempotency_key=None, **first)]


def test_graph_that_is_submitted_again_is_the_same_under_other_names() -> None:
    one, two = hashes(graph("left", "1")), hashes(graph("right", "1"))
    assert one == two
    assert one[1] == b"", "it has no key"


def test_graph_with_another_parent_is_another_request() -> None:
    assert hashes(graph("left", "1"))[0] != hashes(graph("left", "2"))[0]
    assert hashes(graph("left", "1"))[0] != hashes(graph("left", "1", max_attempts=1))[0]
