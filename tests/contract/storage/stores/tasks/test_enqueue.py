"""Submitting: all or nothing, each key once, nothing before its parents."""

import asyncio
from typing import Any

import msgspec
import pytest

from penstock.domain.durable.tasks import Enqueued, OnParentFailure, Task, TaskStatus
from penstock.domain.errors import Conflict, IdempotencyConflict, NotFound
from tests.contract.storage.stores.tasks.task_store_client import ORG, OTHER, START, TaskStoreClient, behind


async def test_task_is_read_back_with_every_submitted_field(client: TaskStoreClient) -> None:
    new = client.new(
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
    assert await client.tasks.enqueue([new]) == [Enqueued(new.id, True)]
    detail = await client.tasks.task(ORG, new.id)
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


async def test_key_with_the_fingerprint_of_an_earlier_version_is_the_same_submission(client: TaskStoreClient) -> None:
    task = await client.submit(idempotency_key="k", payload_hash=b"o" * 32)
    assert await client.submit(idempotency_key="k", payload_hash=b"n" * 33) == task
    with pytest.raises(IdempotencyConflict, match="options"):
        await client.submit(idempotency_key="k", payload_hash=b"x" * 32)


async def test_another_organisation_does_not_see_it(client: TaskStoreClient) -> None:
    task = await client.submit()
    assert await client.tasks.task(OTHER, task) is None
    assert await client.tasks.cancel(OTHER, [task]) == {}
    assert await client.tasks.retry(OTHER, [task]) == {}
    assert await client.tasks.delete(OTHER, [task]) == []
    assert await client.tasks.reprioritise(OTHER, [task], 9) == []
    with pytest.raises(NotFound):
        await client.submit("child", [task], org_id=OTHER)


async def test_malformed_task_id_finds_and_cancels_no_task(client: TaskStoreClient) -> None:
    for id_ in ("", "task_", "task_zz", "task_000000000000000G", "task_ffffffffffffffff", "org_one"):
        assert await client.tasks.task(ORG, id_) is None
        assert await client.tasks.cancel(ORG, [id_]) == {}


async def test_the_same_key_is_the_same_task(client: TaskStoreClient) -> None:
    first = await client.submit("a", idempotency_key="k", payload_hash=b"1")
    again = client.new("b", idempotency_key="k", payload_hash=b"1")
    assert await client.tasks.enqueue([again]) == [Enqueued(first, False)]
    assert await client.tasks.task(ORG, again.id) is None
    elsewhere = client.new("c", org_id=OTHER, idempotency_key="k", payload_hash=b"1")
    assert await client.tasks.enqueue([elsewhere]) == [Enqueued(elsewhere.id, True)]


async def test_the_same_key_with_another_payload_is_refused_and_nothing_is_written(client: TaskStoreClient) -> None:
    await client.submit("a", idempotency_key="k", payload_hash=b"1")
    with pytest.raises(IdempotencyConflict):
        await client.tasks.enqueue([client.new("fine"), client.new("b", idempotency_key="k", payload_hash=b"2")])
    assert await client.names() == ["a"]
    with pytest.raises(IdempotencyConflict):
        await client.tasks.enqueue([client.new(idempotency_key="m", payload_hash=b"1"), client.new(idempotency_key="m", payload_hash=b"2")])
    assert await client.names() == ["a"]


async def test_a_key_that_comes_twice_in_one_call_is_one_task(client: TaskStoreClient) -> None:
    one, two = client.new("one", idempotency_key="k"), client.new("two", idempotency_key="k")
    child = client.new("child", [two.id])
    found = await client.tasks.enqueue([one, two, child])
    assert found == [Enqueued(one.id, True), Enqueued(one.id, False), Enqueued(child.id, True)]
    detail = await client.tasks.task(ORG, child.id)
    assert detail is not None
    assert [parent.id for parent in detail.parents] == [one.id]


async def test_each_of_many_keeps_what_is_its_own(client: TaskStoreClient) -> None:
    """What all have in common is said once to some databases: neither the first nor the last may speak for those between them."""
    given: list[dict[str, Any]] = [
        {"payload": "[1]", "priority": 5},
        {"payload": "[2]", "priority": 9, "tags": ("a", "b"), "timeout_seconds": 3.0, "queue": "high", "expires_at": START + 9},
        {"payload": "[3]", "priority": 5, "idempotency_key": "k", "payload_hash": b"x", "keep_seconds": 0.0, "traceparent": "tp"},
        {"payload": "[1]", "priority": 5},
    ]
    found = await client.tasks.enqueue([client.new(**values) for values in given])
    for one, values in zip(found, given, strict=True):
        detail = await client.tasks.task(ORG, one.id)
        assert detail is not None
        expected = {"priority": 5, "tags": (), "timeout_seconds": None, "queue": "medium", "idempotency_key": None, "keep_seconds": None}
        expected |= {"expires_at": None, "traceparent": ""} | values
        assert {name: getattr(detail.task, name) for name in expected if name != "payload_hash"} == {
            name: value for name, value in expected.items() if name != "payload_hash"
        }


@pytest.mark.fault("The same idempotency key ten times at once", "one task, nine are told of it")
async def test_the_same_key_ten_times_at_once_is_one_task(client: TaskStoreClient) -> None:
    found = await asyncio.gather(*(client.tasks.enqueue([client.new(idempotency_key="k", payload_hash=b"1")]) for _ in range(10)))
    assert len({one.id for (one,) in found}) == 1
    assert sum(one.created for (one,) in found) == 1
    assert await client.names() == ["noop"]


async def test_children_of_a_known_key_get_the_known_task_as_their_parent(client: TaskStoreClient) -> None:
    known = await client.submit("known", idempotency_key="k")
    parent = client.new("known", idempotency_key="k")
    child = client.new("child", [parent.id])
    await client.tasks.enqueue([parent, child])
    detail = await client.tasks.task(ORG, known)
    assert detail is not None
    assert [(one.id, one.status) for one in detail.children] == [(child.id, TaskStatus.BLOCKED)]


async def test_an_id_that_is_taken_is_a_conflict(client: TaskStoreClient) -> None:
    new = client.new("first")
    await client.tasks.enqueue([new])
    with pytest.raises(Conflict):
        await client.tasks.enqueue([client.new("other"), msgspec.structs.replace(new, name="second")])
    assert await client.names() == ["first"]


async def test_a_parent_that_there_is_not_is_refused_and_nothing_is_written(client: TaskStoreClient) -> None:
    with pytest.raises(NotFound):
        await client.tasks.enqueue([client.new("fine"), client.new("child", [client.ids.next(START)])])
    with pytest.raises(NotFound):
        await client.submit("child", ["nonsense"])
    assert await client.names() == []


async def test_a_parent_after_its_child_is_a_mistake_of_the_caller(client: TaskStoreClient) -> None:
    parent = client.new("parent")
    with pytest.raises(ValueError, match="comes after its child"):
        await client.tasks.enqueue([client.new("child", [parent.id]), parent])


@pytest.mark.parametrize(
    ("policy", "status"),
    [(OnParentFailure.FAIL, TaskStatus.FAILED), (OnParentFailure.SKIP, TaskStatus.SKIPPED), (OnParentFailure.RUN, TaskStatus.READY)],
)
async def test_a_parent_that_has_failed_already_decides_at_once(
    client: TaskStoreClient, policy: OnParentFailure, status: TaskStatus
) -> None:
    parent = await client.submit("parent")
    await client.tasks.cancel(ORG, [parent])
    child, grandchild = client.new("child", [behind(parent, policy)]), client.new("grandchild")
    grandchild = msgspec.structs.replace(grandchild, parents=(behind(child.id, policy),))
    await client.tasks.enqueue([child, grandchild])
    assert await client.status(child.id) is status
    wanted = TaskStatus.BLOCKED if status is TaskStatus.READY else status
    assert await client.status(grandchild.id) is wanted


async def test_a_parent_that_has_succeeded_already_is_not_waited_for(client: TaskStoreClient) -> None:
    await client.runner()
    parent = await client.submit("parent")
    await client.run(result="42")
    child = await client.submit("child", [parent])
    assert await client.status(child) is TaskStatus.READY
    assert [lease.has_parents for lease in await client.claim()] == [True]
    assert [(one.id, one.name, one.status, one.result) for one in await client.tasks.parent_results(child)] == [
        (parent, "parent", TaskStatus.SUCCEEDED, "42")
    ]


async def test_ten_thousand_at_once(client: TaskStoreClient) -> None:
    parent = client.new("parent")
    found = await client.tasks.enqueue([parent, *(client.new(f"child {place}", [parent.id]) for place in range(9_999))])
    assert sum(one.created for one in found) == 10_000
    assert {state.name: (state.ready, state.blocked) for state in await client.tasks.queues(ORG)}["medium"] == (1, 9_999)
