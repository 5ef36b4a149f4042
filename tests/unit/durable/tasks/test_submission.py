"""From what is asked for to what is kept."""

from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
import pytest

from penstock.domain.durable.tasks import NewTask, OnParentFailure, Parent
from penstock.domain.errors import BadRequest, PenstockError, Unprocessable
from penstock.domain.principal import KeyActor
from penstock.durable.tasks.graph import DependencyCycle, DuplicateName, UnknownParent
from penstock.durable.tasks.limits import PAYLOAD_BYTES, PayloadTooLarge, TooManyTasks
from penstock.durable.tasks.policy import FUNCTION, WEBHOOK
from penstock.durable.tasks.references import UnknownResult
from penstock.durable.tasks.submission import ParentSpec, Submitter, TaskSpec, new_tasks

NOW = 5_000.0


@pytest.fixture
def submit() -> Callable[..., list[NewTask]]:
    numbers = count()

    def made(*specs: TaskSpec) -> list[NewTask]:
        submitter = Submitter("org", KeyActor("key"), lambda now: f"task_{next(numbers):016x}")
        return list(new_tasks(specs, submitter, NOW))

    return made


def spec(name: str = "f", payload: Any = None, **fields: Any) -> TaskSpec:
    parents = tuple(ParentSpec(parent) for parent in fields.pop("after", ()))
    return TaskSpec(name=name, payload=msgspec.Raw(msgspec.json.encode(payload)), parents=parents, **fields)


def test_missing_fields_get_the_defaults_of_the_kind(submit: Callable[..., list[NewTask]]) -> None:
    function, webhook = submit(spec(), spec("", kind="webhook", queue="low", max_attempts=1))
    assert (function.max_attempts, function.timeout_seconds, function.queue) == (FUNCTION.max_attempts, FUNCTION.timeout_seconds, "medium")
    assert (webhook.max_attempts, webhook.timeout_seconds, webhook.queue) == (1, WEBHOOK.timeout_seconds, "low")
    assert (function.dag_id, function.run_at, function.payload_hash) == (None, None, b"")


def test_names_become_ids_and_parents_come_first(submit: Callable[..., list[NewTask]]) -> None:
    tasks = submit(
        spec(
            ref="last", after=["first", "task_0000000000000063"], payload={"x": {"$result": "first"}}, on_parent_failure=OnParentFailure.RUN
        ),
        spec(ref="first"),
    )
    first, last = tasks
    assert (first.id, last.id) == ("task_0000000000000001", "task_0000000000000000")
    assert last.parents == (Parent(first.id, OnParentFailure.RUN), Parent("task_0000000000000063", OnParentFailure.RUN))
    assert last.payload == f'{{"x":{{"$result":"{first.id}"}}}}'
    assert first.dag_id == last.dag_id == last.id


def test_times_count_from_the_stores_clock(submit: Callable[..., list[NewTask]]) -> None:
    (task,) = submit(spec(delay_seconds=10.0, expires_in_seconds=60.0))
    assert (task.run_at, task.expires_at) == (NOW + 10, NOW + 60)


def test_an_idempotency_key_comes_with_a_fingerprint_of_the_request(submit: Callable[..., list[NewTask]]) -> None:
    one, same, other = (submit(spec(payload=value, idempotency_key="k", ref=ref))[0] for value, ref in ((1, "a"), (1, "b"), (2, "a")))
    assert one.payload_hash == same.payload_hash
    assert len({one.payload_hash, other.payload_hash, b""}) == 3


@pytest.mark.parametrize(
    ("specs", "error", "param"),
    [
        ([], BadRequest, "tasks"),
        ([spec()] * 10_001, TooManyTasks, "tasks"),
        ([spec(""), spec()], PenstockError, "tasks.0.name"),
        ([spec(kind="magic")], PenstockError, "kind"),
        ([spec(kind="report")], Unprocessable, "kind"),
        ([spec(ref="a"), spec(ref="a")], DuplicateName, "tasks.1.ref"),
        ([spec(after=["nobody"])], UnknownParent, "tasks.0.parents"),
        ([spec(ref="a", after=["b"]), spec(ref="b", after=["a"])], DependencyCycle, "tasks"),
        ([spec(ref="a"), spec(payload={"$result": "a"})], UnknownResult, "tasks.1.payload"),
        ([spec(ref="a"), spec(ref="b"), spec(payload={"$result": "b"}, after=["a"])], UnknownResult, "tasks.2.payload"),
        ([spec(payload="x" * PAYLOAD_BYTES)], PayloadTooLarge, "payload"),
        ([spec(run_at=1.0, delay_seconds=1.0)], PenstockError, "run_at"),
        ([spec(run_at=NOW * 1e9)], PenstockError, "run_at"),
    ],
)
def test_invalid_submission_is_refused_with_the_field(
    submit: Callable[..., list[NewTask]], specs: list[TaskSpec], error: type[Exception], param: str
) -> None:
    with pytest.raises(error) as caught:
        submit(*specs)
    assert isinstance(caught.value, PenstockError)
    assert caught.value.param == param
