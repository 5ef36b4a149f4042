"""Graphs: who waits for whom, and what the end of one means to the others."""

import asyncio

import pytest

from penstock.domain.durable.tasks import CompletionKind, OnParentFailure, TaskStatus
from tests.contract.storage.stores.tasks.desk import ORG, START, Desk, behind, ended

FAIL, SKIP, RUN = OnParentFailure.FAIL, OnParentFailure.SKIP, OnParentFailure.RUN


async def test_a_child_waits_for_all_of_its_parents(desk: Desk) -> None:
    await desk.runner()
    one, two = await desk.submit("one"), await desk.submit("two")
    child = await desk.submit("child", [two, one])
    assert await desk.status(child) is TaskStatus.BLOCKED
    await desk.run(result="1")
    assert await desk.status(child) is TaskStatus.BLOCKED
    await desk.run(result="2")
    assert await desk.status(child) is TaskStatus.READY
    assert [found.result for found in await desk.tasks.parent_results(child)] == ["2", "1"]
    assert await desk.run() == child


@pytest.mark.parametrize(("policy", "status"), [(FAIL, TaskStatus.FAILED), (SKIP, TaskStatus.SKIPPED), (RUN, TaskStatus.BLOCKED)])
@pytest.mark.parametrize("kind", [CompletionKind.FAILED, CompletionKind.CANCELLED])
async def test_a_parent_that_does_not_succeed(desk: Desk, policy: OnParentFailure, status: TaskStatus, kind: CompletionKind) -> None:
    await desk.runner()
    one, two = await desk.submit("one"), await desk.submit("two")
    child = await desk.submit("child", [behind(one, policy), behind(two, policy)])
    grandchild = await desk.submit("grandchild", [behind(child, policy)])
    await desk.run(kind)
    assert await desk.status(child) is status  # without waiting for the other one
    assert await desk.status(grandchild) is status
    await desk.run()
    assert await desk.status(child) is (TaskStatus.READY if policy is RUN else status)
    detail = await desk.tasks.task(ORG, child)
    assert detail is not None
    assert (detail.task.error.code if detail.task.error else None) == (None if policy is RUN else "parent_failed")


@pytest.mark.parametrize("policies", [(SKIP, FAIL), (FAIL, SKIP)])
async def test_of_two_fates_failing_is_the_worse(desk: Desk, policies: tuple[OnParentFailure, OnParentFailure]) -> None:
    await desk.runner()
    one, two = await desk.submit("one"), await desk.submit("two")
    child = await desk.submit("child", [behind(one, policies[0]), behind(two, policies[1])])
    await desk.end(*await desk.claim(2), kind=CompletionKind.FAILED)
    assert await desk.status(child) is TaskStatus.FAILED


async def test_a_parent_that_ends_twice_counts_once(desk: Desk) -> None:
    await desk.runner()
    one, two = await desk.submit("one"), await desk.submit("two")
    child = await desk.submit("child", [behind(one, RUN), two])
    (lease,) = await desk.claim()
    await desk.end(lease)
    assert await desk.tasks.retry(ORG, [one]) == [one]
    leases = {lease.task_id: lease for lease in await desk.claim(2)}
    await desk.end(leases[one])
    assert await desk.status(child) is TaskStatus.BLOCKED
    await desk.end(leases[two])
    assert await desk.status(child) is TaskStatus.READY


async def test_a_child_has_a_time_of_its_own(desk: Desk) -> None:
    await desk.runner()
    parent = await desk.submit("parent")
    child = await desk.submit("child", [parent], run_at=START + 50)
    await desk.run()
    assert await desk.status(child) is TaskStatus.SCHEDULED
    assert (await desk.tasks.promote()).next_at == START + 50
    desk.clock.advance(50)
    assert (await desk.tasks.promote()).promoted == 1
    assert await desk.run() == child


@pytest.mark.fault("A fan of tasks, 1 to 100 to 1, its ends in batches", "the last one starts once, after all of them")
async def test_fan_out_and_in(desk: Desk) -> None:
    """1 -> 100 -> 1, in batches as runners end them."""
    await desk.runner()
    root = desk.new("root")
    middle = [desk.new("middle", [root.id], dag_id=root.id) for _ in range(100)]
    last = desk.new("last", [one.id for one in middle], dag_id=root.id)
    await desk.tasks.enqueue([root, *middle, last])
    await desk.run()
    done = 0
    while leases := await desk.claim(16):
        if leases[0].name == "last":
            break
        assert await desk.status(last.id) is TaskStatus.BLOCKED
        await desk.end(*leases)
        done += len(leases)
    assert done == 100
    assert [lease.task_id for lease in leases] == [last.id]


async def test_a_graph_is_told_whole(desk: Desk) -> None:
    await desk.runner()
    root = desk.new("root")
    root = desk.new("root", dag_id=root.id)
    left, right = desk.new("left", [root.id], dag_id=root.dag_id), desk.new("right", [behind(root.id, SKIP)], dag_id=root.dag_id)
    end = desk.new("end", [right.id, left.id], dag_id=root.dag_id)
    await desk.tasks.enqueue([root, left, right, end, desk.new("stranger")])
    await desk.run(CompletionKind.FAILED)
    assert root.dag_id is not None
    dag = await desk.tasks.dag(ORG, root.dag_id)
    assert dag is not None
    assert [(task.name, task.status) for task in dag.tasks] == [
        ("root", TaskStatus.FAILED),
        ("left", TaskStatus.FAILED),
        ("right", TaskStatus.SKIPPED),
        ("end", TaskStatus.FAILED),
    ]
    assert dag.edges == ((root.id, left.id, FAIL), (root.id, right.id, SKIP), (right.id, end.id, FAIL), (left.id, end.id, FAIL))
    assert await desk.tasks.dag_counts(ORG, root.dag_id) == {TaskStatus.FAILED: 3, TaskStatus.SKIPPED: 1}
    assert await desk.tasks.dag("org_two", root.dag_id) is None
    assert await desk.tasks.dag_counts("org_two", root.dag_id) == {}


async def test_a_parent_that_runs_again_does_not_revive_its_children(desk: Desk) -> None:
    await desk.runner()
    parent = await desk.submit("parent", max_attempts=1)
    child = await desk.submit("child", [parent])
    await desk.run(CompletionKind.FAILED)
    await desk.tasks.retry(ORG, [parent])
    await desk.run()
    assert await desk.status(child) is TaskStatus.FAILED
    assert await desk.tasks.retry(ORG, [child]) == [child]  # its parents do not count any more
    assert await desk.status(child) is TaskStatus.READY


async def test_a_child_that_comes_while_its_parent_ends_is_not_forgotten(desk: Desk) -> None:
    """Both orders are right; a child that waits for ever is not."""
    await desk.runner()
    for _ in range(8):
        parent = await desk.submit("parent")
        (lease,) = await desk.claim()
        _, child = await asyncio.gather(desk.tasks.finish("run_1", [ended(lease)]), desk.submit("child", [parent]))
        assert await desk.status(child) is TaskStatus.READY
        assert await desk.run() == child


async def test_deleting_a_parent_leaves_its_children(desk: Desk) -> None:
    await desk.runner()
    parent = await desk.submit("parent")
    child = await desk.submit("child", [parent])
    assert await desk.tasks.delete(ORG, [parent, child]) == []
    await desk.run()
    assert await desk.tasks.delete(ORG, [parent, child]) == [parent]
    assert await desk.status(child) is TaskStatus.READY
    detail = await desk.tasks.task(ORG, child)
    assert detail is not None
    assert detail.parents == ()
