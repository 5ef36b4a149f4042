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
    assert await client.tasks.retry(ORG, [one]) == {one: TaskStatus.READY}
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
    assert await client.tasks.retry(ORG, [child]) == {child: TaskStatus.READY}


async def chain(client: TaskStoreClient, *policies: OnParentFailure) -> list[str]:
    """A parent that has failed, and below it one task for each policy, each behind the one before."""
    await client.runner()
    ids = [await client.submit("root", max_attempts=1)]
    for place, policy in enumerate(policies):
        ids.append(await client.submit(f"below {place}", [behind(ids[-1], policy)]))
    await client.run(CompletionKind.FAILED)
    return ids


@pytest.mark.parametrize("turned", [False, True])
async def test_retried_chain_waits_for_its_parents_again(client: TaskStoreClient, turned: bool) -> None:
    root, child, grandchild = ids = await chain(client, FAIL, SKIP)
    found = await client.tasks.retry(ORG, ids[::-1] if turned else ids)
    assert found == {root: TaskStatus.READY, child: TaskStatus.BLOCKED, grandchild: TaskStatus.BLOCKED}
    detail = await client.tasks.task(ORG, child)
    assert detail is not None
    assert (detail.task.pending_parents, detail.task.error, detail.task.finished_at) == (1, None, None)
    assert [await client.run(result=str(place)) for place in range(3)] == ids
    assert [found.result for found in await client.tasks.parent_results(grandchild)] == ["1"]


async def test_retried_chain_whose_parent_fails_again_fails_again(client: TaskStoreClient) -> None:
    ids = await chain(client, FAIL, FAIL)
    await client.tasks.retry(ORG, ids)
    await client.run(CompletionKind.FAILED)
    assert [await client.status(task) for task in ids] == [TaskStatus.FAILED] * 3
    assert await client.claim() == []


async def test_retry_of_a_child_whose_parent_has_failed_does_nothing(client: TaskStoreClient) -> None:
    root, child, grandchild = await chain(client, FAIL, FAIL)
    assert await client.tasks.retry(ORG, [child, grandchild]) == {}
    assert await client.tasks.retry(ORG, [root]) == {root: TaskStatus.READY}
    assert await client.tasks.retry(ORG, [child]) == {child: TaskStatus.BLOCKED}


async def test_retry_with_dependents_runs_all_that_failed_because_of_it(client: TaskStoreClient) -> None:
    root, child, grandchild = await chain(client, SKIP, FAIL)
    own = await client.submit("own", max_attempts=1)
    await client.run(CompletionKind.FAILED)
    found = await client.tasks.retry(ORG, [root], with_dependents=True)
    assert found == {root: TaskStatus.READY, child: TaskStatus.BLOCKED, grandchild: TaskStatus.BLOCKED}
    assert await client.status(own) is TaskStatus.FAILED
    assert [await client.run() for _ in range(3)] == [root, child, grandchild]


async def test_retry_with_dependents_leaves_what_failed_by_itself_or_belongs_to_others(client: TaskStoreClient) -> None:
    await client.runner()
    root = await client.submit("root", max_attempts=1)
    ran = await client.submit("ran", [behind(root, RUN)], max_attempts=1)
    await client.run(CompletionKind.FAILED)
    await client.run(CompletionKind.FAILED)
    assert await client.tasks.retry("org_two", [root], with_dependents=True) == {}
    assert await client.tasks.retry(ORG, [root], with_dependents=True) == {root: TaskStatus.READY}
    assert await client.status(ran) is TaskStatus.FAILED


async def test_retried_child_of_two_parents_waits_for_the_one_that_is_not_over(client: TaskStoreClient) -> None:
    await client.runner()
    good, bad = await client.submit("good"), await client.submit("bad")
    child = await client.submit("child", [good, bad])
    leases = {lease.task_id: lease for lease in await client.claim(2)}
    await client.end(leases[good], result="1")
    await client.end(leases[bad], kind=CompletionKind.FAILED)
    assert await client.tasks.retry(ORG, [bad, child]) == {bad: TaskStatus.READY, child: TaskStatus.BLOCKED}
    assert await client.run(result="2") == bad
    assert await client.status(child) is TaskStatus.READY
    assert [found.result for found in await client.tasks.parent_results(child)] == ["1", "2"]


async def test_retried_child_is_not_forgotten_when_its_parent_ends_meanwhile(client: TaskStoreClient) -> None:
    await client.runner()
    for _ in range(8):
        parent = await client.submit("parent")
        child = await client.submit("child", [parent])
        await client.tasks.cancel(ORG, [child])
        (lease,) = await client.claim()
        await asyncio.gather(client.tasks.finish("run_1", [ended(lease)]), client.tasks.retry(ORG, [child]))
        assert await client.status(child) is TaskStatus.READY
        assert await client.run() == child


async def test_a_child_that_comes_while_its_parent_ends_is_not_forgotten(client: TaskStoreClient) -> None:
    """Both orders are right; a child that waits for ever is not."""
    await client.runner()
    for _ in range(8):
        parent = await client.submit("parent")
        (lease,) = await client.claim()
        _, child = await asyncio.gather(client.tasks.finish("run_1", [ended(lease)]), client.submit("child", [parent]))
        assert await client.status(child) is TaskStatus.READY
        assert await client.run() == child


async def test_parent_is_kept_until_its_children_are_over(client: TaskStoreClient) -> None:
    await client.runner()
    parent = await client.submit("parent", keep_seconds=0.0)
    child = await client.submit("child", [parent])
    assert await client.tasks.delete(ORG, [parent, child]) == []
    await client.run(result="5")
    client.clock.advance(1)
    assert await client.tasks.delete(ORG, [parent, child]) == []
    assert await client.tasks.delete_kept(10) == 0
    assert [found.result for found in await client.tasks.parent_results(child)] == ["5"]
    assert await client.run() == child
    assert await client.tasks.delete_kept(10) == 1
    detail = await client.tasks.task(ORG, child)
    assert detail is not None
    assert (detail.task.status, detail.parents) == (TaskStatus.SUCCEEDED, ())
