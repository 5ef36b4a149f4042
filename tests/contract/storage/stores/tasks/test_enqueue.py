"""Submitting: all or nothing, each key once, nothing before its parents."""

import asyncio
from typing import Any

import msgspec
import pytest

from penstock.domain.durable.tasks import Enqueued, OnParentFailure, Task, TaskStatus
from penstock.domain.errors import Conflict, IdempotencyConflict, NotFound
from tests.contract.storage.stores.tasks.desk import ORG, OTHER, START, Desk, behind


async def test_task_is_read_back_with_every_submitted_field(desk: Desk) -> None:
    new = desk.new(
        "résumé",
        key_id="key_1",
        queue="high",
        kind="webhook",
        priority=9,
        payload='{"a": "\\u00e9\\u0001 \\\\ \'quoted\' ☃"}',
        payload_hash=b"\x00\xff",
        idempotency_key="once",
        tags=("x", "ý"),
        run_at=START + 60,
        expires_at=START + 600,
        keep_seconds=3600.0,
        max_attempts=7,
        timeout_seconds=30.0,
        backoff_seconds=2.5,
        backoff_cap_seconds=99.0,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    assert await desk.tasks.enqueue([new]) == [Enqueued(new.id, True)]
    detail = await desk.tasks.task(ORG, new.id)
    assert detail is not None
    assert (detail.parents, detail.children, detail.attempts) == ((), (), ())
    assert detail.task == Task(
        id=new.id,
        org_id=ORG,
        key_id="key_1",
        queue="high",
        kind="webhook",
        name="résumé",
        priority=9,
        payload=new.payload,
        idempotency_key="once",
        tags=("x", "ý"),
        dag_id=None,
        status=TaskStatus.SCHEDULED,
        created_at=START,
        run_at=START + 60,
        started_at=None,
        finished_at=None,
        expires_at=START + 600,
        keep_seconds=3600.0,
        attempt=0,
        max_attempts=7,
        timeout_seconds=30.0,
        backoff_seconds=2.5,
        backoff_cap_seconds=99.0,
        runner_id="",
        pending_parents=0,
        progress=None,
        result=None,
        error=None,
        cancel_requested=False,
        traceparent=new.traceparent,
    )


async def test_another_organisation_does_not_see_it(desk: Desk) -> None:
    task = await desk.submit()
    assert await desk.tasks.task(OTHER, task) is None
    assert await desk.tasks.cancel(OTHER, [task]) == {}
    assert await desk.tasks.retry(OTHER, [task]) == []
    assert await desk.tasks.delete(OTHER, [task]) == []
    assert await desk.tasks.reprioritise(OTHER, [task], 9) == []
    with pytest.raises(NotFound):
        await desk.submit("child", [task], org_id=OTHER)


async def test_malformed_task_id_finds_and_cancels_no_task(desk: Desk) -> None:
    for id_ in ("", "task_", "task_zz", "task_000000000000000G", "task_ffffffffffffffff", "org_one"):
        assert await desk.tasks.task(ORG, id_) is None
        assert await desk.tasks.cancel(ORG, [id_]) == {}


async def test_the_same_key_is_the_same_task(desk: Desk) -> None:
    first = await desk.submit("a", idempotency_key="k", payload_hash=b"1")
    again = desk.new("b", idempotency_key="k", payload_hash=b"1")
    assert await desk.tasks.enqueue([again]) == [Enqueued(first, False)]
    assert await desk.tasks.task(ORG, again.id) is None
    elsewhere = desk.new("c", org_id=OTHER, idempotency_key="k", payload_hash=b"1")
    assert await desk.tasks.enqueue([elsewhere]) == [Enqueued(elsewhere.id, True)]


async def test_the_same_key_with_another_payload_is_refused_and_nothing_is_written(desk: Desk) -> None:
    await desk.submit("a", idempotency_key="k", payload_hash=b"1")
    with pytest.raises(IdempotencyConflict):
        await desk.tasks.enqueue([desk.new("fine"), desk.new("b", idempotency_key="k", payload_hash=b"2")])
    assert await desk.names() == ["a"]
    with pytest.raises(IdempotencyConflict):
        await desk.tasks.enqueue([desk.new(idempotency_key="m", payload_hash=b"1"), desk.new(idempotency_key="m", payload_hash=b"2")])
    assert await desk.names() == ["a"]


async def test_a_key_that_comes_twice_in_one_call_is_one_task(desk: Desk) -> None:
    one, two = desk.new("one", idempotency_key="k"), desk.new("two", idempotency_key="k")
    child = desk.new("child", [two.id])
    found = await desk.tasks.enqueue([one, two, child])
    assert found == [Enqueued(one.id, True), Enqueued(one.id, False), Enqueued(child.id, True)]
    detail = await desk.tasks.task(ORG, child.id)
    assert detail is not None
    assert [parent.id for parent in detail.parents] == [one.id]


async def test_each_of_many_keeps_what_is_its_own(desk: Desk) -> None:
    """What all have in common is said once to some databases: neither the first nor the last may speak for those between them."""
    given: list[dict[str, Any]] = [
        {"payload": "[1]", "priority": 5},
        {"payload": "[2]", "priority": 9, "tags": ("a", "b"), "timeout_seconds": 3.0, "queue": "high", "expires_at": START + 9},
        {"payload": "[3]", "priority": 5, "idempotency_key": "k", "payload_hash": b"x", "keep_seconds": 0.0, "traceparent": "tp"},
        {"payload": "[1]", "priority": 5},
    ]
    found = await desk.tasks.enqueue([desk.new(**values) for values in given])
    for one, values in zip(found, given, strict=True):
        detail = await desk.tasks.task(ORG, one.id)
        assert detail is not None
        expected = {"priority": 5, "tags": (), "timeout_seconds": None, "queue": "medium", "idempotency_key": None, "keep_seconds": None}
        expected |= {"expires_at": None, "traceparent": ""} | values
        assert {name: getattr(detail.task, name) for name in expected if name != "payload_hash"} == {
            name: value for name, value in expected.items() if name != "payload_hash"
        }


@pytest.mark.fault("The same idempotency key ten times at once", "one task, nine are told of it")
async def test_the_same_key_ten_times_at_once_is_one_task(desk: Desk) -> None:
    found = await asyncio.gather(*(desk.tasks.enqueue([desk.new(idempotency_key="k", payload_hash=b"1")]) for _ in range(10)))
    assert len({one.id for (one,) in found}) == 1
    assert sum(one.created for (one,) in found) == 1
    assert await desk.names() == ["noop"]


async def test_children_of_a_known_key_get_the_known_task_as_their_parent(desk: Desk) -> None:
    known = await desk.submit("known", idempotency_key="k")
    parent = desk.new("known", idempotency_key="k")
    child = desk.new("child", [parent.id])
    await desk.tasks.enqueue([parent, child])
    detail = await desk.tasks.task(ORG, known)
    assert detail is not None
    assert [(one.id, one.status) for one in detail.children] == [(child.id, TaskStatus.BLOCKED)]


async def test_an_id_that_is_taken_is_a_conflict(desk: Desk) -> None:
    new = desk.new("first")
    await desk.tasks.enqueue([new])
    with pytest.raises(Conflict):
        await desk.tasks.enqueue([desk.new("other"), msgspec.structs.replace(new, name="second")])
    assert await desk.names() == ["first"]


async def test_a_parent_that_there_is_not_is_refused_and_nothing_is_written(desk: Desk) -> None:
    with pytest.raises(NotFound):
        await desk.tasks.enqueue([desk.new("fine"), desk.new("child", [desk.ids.next(START)])])
    with pytest.raises(NotFound):
        await desk.submit("child", ["nonsense"])
    assert await desk.names() == []


async def test_a_parent_after_its_child_is_a_mistake_of_the_caller(desk: Desk) -> None:
    parent = desk.new("parent")
    with pytest.raises(ValueError, match="comes after its child"):
        await desk.tasks.enqueue([desk.new("child", [parent.id]), parent])


@pytest.mark.parametrize(
    ("policy", "status"),
    [(OnParentFailure.FAIL, TaskStatus.FAILED), (OnParentFailure.SKIP, TaskStatus.SKIPPED), (OnParentFailure.RUN, TaskStatus.READY)],
)
async def test_a_parent_that_has_failed_already_decides_at_once(desk: Desk, policy: OnParentFailure, status: TaskStatus) -> None:
    parent = await desk.submit("parent")
    await desk.tasks.cancel(ORG, [parent])
    child, grandchild = desk.new("child", [behind(parent, policy)]), desk.new("grandchild")
    grandchild = msgspec.structs.replace(grandchild, parents=(behind(child.id, policy),))
    await desk.tasks.enqueue([child, grandchild])
    assert await desk.status(child.id) is status
    wanted = TaskStatus.BLOCKED if status is TaskStatus.READY else status
    assert await desk.status(grandchild.id) is wanted


async def test_a_parent_that_has_succeeded_already_is_not_waited_for(desk: Desk) -> None:
    await desk.runner()
    parent = await desk.submit("parent")
    await desk.run(result="42")
    child = await desk.submit("child", [parent])
    assert await desk.status(child) is TaskStatus.READY
    assert [lease.has_parents for lease in await desk.claim()] == [True]
    assert [(one.id, one.name, one.status, one.result) for one in await desk.tasks.parent_results(child)] == [
        (parent, "parent", TaskStatus.SUCCEEDED, "42")
    ]


async def test_ten_thousand_at_once(desk: Desk) -> None:
    parent = desk.new("parent")
    found = await desk.tasks.enqueue([parent, *(desk.new(f"child {place}", [parent.id]) for place in range(9_999))])
    assert sum(one.created for one in found) == 10_000
    assert {state.name: (state.ready, state.blocked) for state in await desk.tasks.queues(ORG)}["medium"] == (1, 9_999)
