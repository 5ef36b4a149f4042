"""Graphs: who waits for whom, and what the end of one means to the others."""

import asyncio

import pytest

from penstock.domain.durable.tasks import CompletionKind, OnParentFailure, TaskStatus
from tests.contract.storage.stores.tasks.task_store_client import ORG, START, TaskStoreClient, behind, ended

FAIL, SKIP, RUN = OnParentFailure.FAIL, OnParentFailure.SKIP, OnParentFailure.RUN


async def test_a_child_waits_for_all_of_its_parents(client: TaskStoreClient) -> None:
    await client.runner()
    one, two = await client.submit("one"), await client.submit("two")
    child = await client.submit("child", [two, one])
    assert await client.status(child) is TaskStatus.BLOCKED
    await client.run(result="1")
    assert await client.status(child) is TaskStatus.BLOCKED
    await client.run(result="2")
    assert await client.status(child) is TaskStatus.READY
    assert [found.result for found in await client.tasks.parent_results(child)] == ["2", "1"]
    assert await client.run() == child


@pytest.mark.parametrize(("policy", "status"), [(FAIL, TaskStatus.FAILED), (SKIP, TaskStatus.SKIPPED), (RUN, TaskStatus.BLOCKED)])
@pytest.mark.parametrize("kind", [CompletionKind.FAILED, CompletionKind.CANCELLED])
async def test_a_parent_that_does_not_succeed(
    client: TaskStoreClient, policy: OnParentFailure, status: TaskStatus, kind: CompletionKind
) -> None:
    await client.runner()
    one, two = await client.submit("one"), await client.submit("two")
    child = await client.submit("child", [behind(one, policy), behind(two, policy)])
    grandchild = await client.submit("grandchild", [behind(child, policy)])
    await client.run(kind)
    assert await client.status(child) is status  # without waiting for the other one
    assert await client.status(grandchild) is status
    await client.run()
    assert await client.status(child) is (TaskStatus.READY if policy is RUN else status)
    detail = await client.tasks.task(ORG, child)
    assert detail is not None
    assert (detail.task.error.code if detail.task.error else None) == (None if policy is RUN else "parent_failed")


@pytest.mark.parametrize("policies", [(SKIP, FAIL), (FAIL, SKIP)])
async def test_of_two_fates_failing_is_the_worse(client: TaskStoreClient, policies: tuple[OnParentFailure, OnParentFailure]) -> None:
    await client.runner()
    one, two = await client.submit("one"), await client.submit("two")
    child = await client.submit("child", [behind(one, policies[0]), behind(two, policies[1])])
    await client.end(*await client.claim(2), kind=CompletionKind.FAILED)
    assert await client.status(child) is TaskStatus.FAILED


async def test_a_parent_that_ends_twice_counts_once(client: TaskStoreClient) -> None:
    await client.runner()
    one, two = await client.submit("one"), await client.submit("two")
    child = await client.submit("child", [behind(one, RUN), two])
    (lease,) = await client.claim()
    await client.end(lease)
    assert await client.tasks.retry(ORG, [one]) == [one]
    leases = {lease.task_id: lease for lease in await client.claim(2)}
    await client.end(leases[one])
    assert await client.status(child) is TaskStatus.BLOCKED
    await client.end(leases[two])
    assert await client.status(child) is TaskStatus.READY


async def test_a_child_has_a_time_of_its_own(client: TaskStoreClient) -> None:
    await client.runner()
    parent = await client.submit("parent")
    child = await client.submit("child", [parent], run_at=START + 50)
    await client.run()
    assert await client.status(child) is TaskStatus.SCHEDULED
    assert (await client.tasks.promote()).next_at == START + 50
    client.clock.advance(50)
    assert (await client.tasks.promote()).promoted == 1
    assert await client.run() == child


@pytest.mark.fault("A fan of tasks, 1 to 100 to 1, its ends in batches", "the last one starts once, after all of them")
async def test_fan_out_and_in(client: TaskStoreClient) -> None:
    """1 -> 100 -> 1, in batches as runners end them."""
    await client.runner()
    root = client.new("root")
    middle = [client.new("middle", [root.id], dag_id=root.id) for _ in range(100)]
    last = client.new("last", [one.id for one in middle], dag_id=root.id)
    await client.tasks.enqueue([root, *middle, last])
    await client.run()
    done = 0
    while leases := await client.claim(16):
        if leases[0].name == "last":
            break
        assert await client.status(last.id) is TaskStatus.BLOCKED
        await client.end(*leases)
        done += len(leases)
    assert done == 100
    assert [lease.task_id for lease in leases] == [last.id]


async def test_a_graph_is_told_whole(client: TaskStoreClient) -> None:
    await client.runner()
    root = client.new("root")
    root = client.new("root", dag_id=root.id)
    left, right = client.new("left", [root.id], dag_id=root.dag_id), client.new("right", [behind(root.id, SKIP)], dag_id=root.dag_id)
    end = client.new("end", [right.id, left.id], dag_id=root.dag_id)
    await client.tasks.enqueue([root, left, right, end, client.new("stranger")])
    await client.run(CompletionKind.FAILED)
    assert root.dag_id is not None
    dag = await client.tasks.dag(ORG, root.dag_id)
    assert dag is not None
    assert [(task.name, task.status) for task in dag.tasks] == [
        ("root", TaskStatus.FAILED),
        ("left", TaskStatus.FAILED),
        ("right", TaskStatus.SKIPPED),
        ("end", TaskStatus.FAILED),
    ]
    assert dag.edges == ((root.id, left.id, FAIL), (root.id, right.id, SKIP), (right.id, end.id, FAIL), (left.id, end.id, FAIL))
    assert await client.tasks.dag_counts(ORG, root.dag_id) == {TaskStatus.FAILED: 3, TaskStatus.SKIPPED: 1}
    assert await client.tasks.dag("org_two", root.dag_id) is None
    assert await client.tasks.dag_counts("org_two", root.dag_id) == {}


async def test_a_parent_that_runs_again_does_not_revive_its_children(client: TaskStoreClient) -> None:
    await client.runner()
    parent = await client.submit("parent", max_attempts=1)
    child = await client.submit("child", [parent])
    await client.run(CompletionKind.FAILED)
    await client.tasks.retry(ORG, [parent])
    await client.run()
    assert await client.status(child) is TaskStatus.FAILED
    assert await client.tasks.retry(ORG, [child]) == [child]  # its parents do not count any more
    assert await client.status(child) is TaskStatus.READY


async def test_a_child_that_comes_while_its_parent_ends_is_not_forgotten(client: TaskStoreClient) -> None:
    """Both orders are right; a child that waits for ever is not."""
    await client.runner()
    for _ in range(8):
        parent = await client.submit("parent")
        (lease,) = await client.claim()
        _, child = await asyncio.gather(client.tasks.finish("run_1", [ended(lease)]), client.submit("child", [parent]))
        assert await client.status(child) is TaskStatus.READY
        assert await client.run() == child


async def test_deleting_a_parent_leaves_its_children(client: TaskStoreClient) -> None:
    await client.runner()
    parent = await client.submit("parent")
    child = await client.submit("child", [parent])
    assert await client.tasks.delete(ORG, [parent, child]) == []
    await client.run()
    assert await client.tasks.delete(ORG, [parent, child]) == [parent]
    assert await client.status(child) is TaskStatus.READY
    detail = await client.tasks.task(ORG, child)
    assert detail is not None
    assert detail.parents == ()
