"""What the client sends, how it reads answers, and when it sends a call again."""

import pytest

from penstock.domain.errors import BadRequest, Overloaded
from penstock.net.api_client import calls, flows
from penstock.net.api_client.calls import TaskOptions, TaskRequest, result_of
from penstock.net.api_client.refusals import Refusal
from penstock.net.api_client.values import TaskErrorInfo, TaskFailed, read_task

TASK = {
    "id": "task_1",
    "kind": "function",
    "name": "count",
    "status": "failed",
    "queue": "medium",
    "priority": 5,
    "attempt": 3,
    "max_attempts": 3,
    "created_at": 1.0,
    "started_at": 2.0,
    "finished_at": 3.0,
    "tags": ["a"],
    "dag_id": None,
    "progress": {"percent": 50},
    "result": None,
    "error": {"code": "raised", "message": "ValueError: no"},
    "added_later": True,
}


def test_a_request_sends_only_what_is_given() -> None:
    options = TaskOptions(queue="low", parents=["task_9"], tags=["a", "b"], delay_seconds=0.0)
    body = TaskRequest("count", ["text"], options=options, ref="one").body()
    assert body == {
        "kind": "function",
        "name": "count",
        "payload": ["text"],
        "queue": "low",
        "delay_seconds": 0.0,
        "tags": ["a", "b"],
        "parents": ["task_9"],
        "ref": "one",
    }


def test_a_submission_without_a_key_gets_one_and_may_be_repeated() -> None:
    first, second = calls.submit(TaskRequest("count")), calls.submit(TaskRequest("count"))
    assert first.repeatable
    assert first.body is not None
    assert second.body is not None
    assert first.body["idempotency_key"] != second.body["idempotency_key"]
    own = calls.submit(TaskRequest("count", options=TaskOptions(idempotency_key="mine")))
    assert own.body is not None
    assert own.body["idempotency_key"] == "mine"


@pytest.mark.parametrize(("keys", "repeatable"), [((None, None), False), (("a", None), False), (("a", "b"), True)])
def test_many_tasks_are_sent_again_only_when_each_has_a_key(keys: tuple[str | None, ...], repeatable: bool) -> None:
    requests = [TaskRequest("count", options=TaskOptions(idempotency_key=key)) for key in keys]
    assert calls.submit_many(requests).repeatable is repeatable


def test_a_task_is_read_with_its_error_and_unknown_fields() -> None:
    info = read_task(TASK)
    assert (info.id, info.status, info.attempt, info.tags, info.progress) == ("task_1", "failed", 3, ("a",), {"percent": 50})
    assert info.error == TaskErrorInfo("raised", "ValueError: no")
    assert info.fields["added_later"] is True
    assert info.ended


def test_a_failed_task_has_no_result_but_says_why() -> None:
    with pytest.raises(TaskFailed, match=r"task task_1 \(count\) is failed: ValueError: no") as raised:
        calls.succeeded(read_task(TASK))
    assert raised.value.task.id == "task_1"


def test_an_id_is_one_part_of_the_path() -> None:
    assert calls.get("task_1/../keys").path == "/api/tasks/task_1%2F..%2Fkeys"


def test_reference_to_a_parents_result() -> None:
    assert result_of("one") == {"$result": "one"}
    assert result_of("one", "rows.0") == {"$result": "one", "path": "rows.0"}


def _refusal(error: BadRequest | Overloaded) -> Refusal:
    return Refusal(error, error.status, error.code, "req_1")


def test_only_what_may_pass_is_sent_again() -> None:
    call, unsafe = calls.get("task_1"), calls.submit_many([TaskRequest("count")])
    assert flows.retry_pause(call, 1, _refusal(BadRequest("no"))) is None
    assert flows.retry_pause(call, 1, _refusal(Overloaded("busy"))) == pytest.approx(0.1)
    assert flows.retry_pause(call, 1, _refusal(Overloaded("busy", retry_after_seconds=2.5))) == 2.5
    assert flows.retry_pause(call, 1, _refusal(Overloaded("busy", retry_after_seconds=90.0))) is None
    assert flows.retry_pause(call, 1, _refusal(Overloaded("busy", retry=False))) is None
    assert flows.retry_pause(call, 2, None) == pytest.approx(0.4)
    assert flows.retry_pause(call, 4, None) is None
    assert flows.retry_pause(unsafe, 1, None) is None


def test_waiting_ends_with_the_limit() -> None:
    waiting = flows.wait("task_1", 0.0)
    assert next(waiting).path == "/api/tasks/task_1"  # type: ignore[union-attr]  # the first step is a call
    assert waiting.send(read_task({**TASK, "status": "running"})) == 0.0
    with pytest.raises(TimeoutError, match="task task_1 has not ended after 0 s"):
        next(waiting)


def test_results_keep_the_order_of_the_tasks() -> None:
    waiting = flows.results(["task_2", "task_1", "task_2"], None)
    asked = next(waiting)
    assert not isinstance(asked, float)
    assert asked.body == {"ids": ["task_2", "task_1"]}
    with pytest.raises(StopIteration) as ended:
        waiting.send({"task_1": ("succeeded", "first", None), "task_2": ("succeeded", "second", None)})
    assert ended.value.value == ["second", "first", "second"]


def test_one_failure_among_many_results_is_raised_at_once() -> None:
    waiting = flows.results(["task_1", "task_2"], None)
    next(waiting)
    with pytest.raises(TaskFailed, match="task_2"):
        waiting.send({"task_2": ("cancelled", None, None)})
