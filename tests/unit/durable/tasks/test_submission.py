"""From what is asked for to what is kept."""

from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
import pytest

from penstock.domain.durable.tasks import NewTask, OnParentFailure, Parent
from penstock.domain.errors import BadRequest, PenstockError, Unprocessable
from penstock.domain.principal import KeyActor
from penstock.durable.tasks.limits import MOST_PARENTS, MOST_TASKS, PAYLOAD_BYTES, PayloadTooLarge, TooManyTasks
from penstock.durable.tasks.policy import FUNCTION, WEBHOOK, KindPolicy
from penstock.durable.tasks.specs.graph import DependencyCycle, DuplicateName, UnknownParent
from penstock.durable.tasks.specs.references import UnknownResult
from penstock.durable.tasks.submission import LONGEST_DELAY_SECONDS, ParentSpec, Submitter, TaskSpec, new_tasks

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
        ([spec(), spec(kind="magic")], Unprocessable, "tasks.1.kind"),
        ([spec(), spec(payload="x" * PAYLOAD_BYTES)], PayloadTooLarge, "tasks.1.payload"),
        ([spec(after=[f"task_{number}" for number in range(MOST_PARENTS + 1)])], Unprocessable, "tasks.0.parents"),
    ],
)
def test_invalid_submission_is_refused_with_the_field(
    submit: Callable[..., list[NewTask]], specs: list[TaskSpec], error: type[Exception], param: str
) -> None:
    with pytest.raises(error) as caught:
        submit(*specs)
    assert isinstance(caught.value, PenstockError)
    assert caught.value.param == param


def test_every_field_of_a_submission_is_kept_as_it_was_given() -> None:
    asked = spec(
        "resize", {"a": 1}, queue="low", priority=9, tags=("x",), after=["task_7"], run_at=NOW + 1, keep_seconds=2.0, max_attempts=4,
        timeout_seconds=5.0, backoff_seconds=0.0, backoff_cap_seconds=0.5, idempotency_key="once",
    )  # fmt: skip
    submitter = Submitter("org", KeyActor("key"), lambda _: "task_1", traceparent="00-1-2-01", dag_id="task_dag")
    (task,) = new_tasks([asked], submitter, NOW)
    assert (task.org_id, task.key_id, task.kind, task.name, task.payload) == ("org", "key", "function", "resize", '{"a":1}')
    assert (task.queue, task.priority, task.tags, task.idempotency_key) == ("low", 9, ("x",), "once")
    assert (task.parents, task.dag_id) == ((Parent("task_7", OnParentFailure.FAIL),), "task_dag")
    assert (task.run_at, task.expires_at, task.keep_seconds) == (NOW + 1, None, 2.0)
    assert (task.max_attempts, task.timeout_seconds, task.backoff_seconds, task.backoff_cap_seconds) == (4, 5.0, 0.0, 0.5)
    assert task.traceparent == "00-1-2-01"


def test_fields_left_out_come_from_the_policy_of_the_function() -> None:
    policy = KindPolicy(7, 11.0, 13.0, 17.0, queue="own", priority=2)
    (task,) = new_tasks([spec()], Submitter("org", KeyActor("key"), lambda _: "task_1"), NOW, lambda _: policy)
    assert (task.queue, task.priority, task.max_attempts, task.timeout_seconds) == ("own", 2, 7, 11.0)
    assert (task.backoff_seconds, task.backoff_cap_seconds) == (13.0, 17.0)


def test_queue_is_the_default_where_a_policy_names_none() -> None:
    policy = KindPolicy(1, 1.0, 1.0, 1.0, queue="")
    (task,) = new_tasks([spec()], Submitter("org", KeyActor("key"), lambda _: "task_1"), NOW, lambda _: policy)
    assert task.queue == "medium"


def test_parent_with_its_own_rule_keeps_it(submit: Callable[..., list[NewTask]]) -> None:
    parents = (ParentSpec("task_1", OnParentFailure.SKIP), ParentSpec("task_2"))
    (task,) = submit(TaskSpec(name="f", parents=parents, on_parent_failure=OnParentFailure.RUN))
    assert task.parents == (Parent("task_1", OnParentFailure.SKIP), Parent("task_2", OnParentFailure.RUN))


def test_submission_at_its_limits_is_accepted(submit: Callable[..., list[NewTask]]) -> None:
    assert len(submit(*[spec()] * MOST_TASKS)) == MOST_TASKS
    (task,) = submit(spec(after=[f"task_{number}" for number in range(MOST_PARENTS)], run_at=NOW + LONGEST_DELAY_SECONDS))
    assert (len(task.parents), task.run_at) == (MOST_PARENTS, NOW + LONGEST_DELAY_SECONDS)


def test_error_without_a_field_keeps_none_in_a_large_submission() -> None:
    def refuse(_: TaskSpec) -> KindPolicy:
        raise Unprocessable("No.")

    with pytest.raises(Unprocessable) as caught:
        list(new_tasks([spec(), spec()], Submitter("org", KeyActor("key"), lambda _: "task_1"), NOW, refuse))
    assert caught.value.param is None
