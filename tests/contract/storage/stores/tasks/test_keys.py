"""Concurrency keys, of which only so many tasks run at a time, and unique keys, of which one task is not over."""

import asyncio

import pytest

from penstock.domain.durable.leases import Lease
from penstock.domain.durable.queues import QueueState
from penstock.domain.durable.task_search import TaskFilter
from penstock.domain.durable.tasks import CompletionKind, TaskStatus
from tests.contract.storage.stores.tasks.task_store_client import ORG, OTHER, START, TaskStoreClient

KEY = "customer-1"


async def claimed(client: TaskStoreClient, limit: int = 10) -> tuple[list[str], list[Lease]]:
    leases = await client.claim(limit)
    return [lease.name for lease in leases], leases


async def test_tasks_of_a_key_run_one_after_the_other_in_the_order_of_the_queue(client: TaskStoreClient) -> None:
    await client.runner()
    for name, priority in (("a", 5), ("b", 5), ("urgent", 9)):
        await client.submit(name, concurrency_key=KEY, priority=priority)
    await client.submit("free")
    names, leases = await claimed(client)
    assert names == ["a", "free"]
    ticket = client.tasks.ticket()
    assert await claimed(client) == ([], [])
    await client.end(leases[0])
    assert await client.tasks.wait(ticket, ["medium"], 0.0)
    names, leases = await claimed(client)
    assert names == ["urgent"]
    await client.end(*leases)
    assert (await claimed(client))[0] == ["b"]


async def test_as_many_tasks_of_a_key_run_as_they_say(client: TaskStoreClient) -> None:
    await client.runner()
    await client.tasks.enqueue([client.new(str(n), concurrency_key=KEY, max_running_per_key=3) for n in range(7)])
    names, leases = await claimed(client)
    assert names == ["0", "1", "2"]
    await client.end(*leases[:2])
    assert (await claimed(client))[0] == ["3", "4"]


async def test_keys_of_organisations_and_other_keys_are_apart(client: TaskStoreClient) -> None:
    await client.runner()
    for name, org_id, key in (("a", ORG, KEY), ("b", ORG, "other"), ("c", OTHER, KEY), ("d", ORG, KEY)):
        await client.submit(name, org_id=org_id, concurrency_key=key)
    assert sorted((await claimed(client))[0]) == ["a", "b", "c"]


@pytest.mark.parametrize("kind", [CompletionKind.FAILED, CompletionKind.CANCELLED, CompletionKind.RETRIED])
async def test_place_of_a_key_is_free_however_an_attempt_ends(client: TaskStoreClient, kind: CompletionKind) -> None:
    await client.runner()
    await client.submit("a", concurrency_key=KEY)
    await client.submit("b", concurrency_key=KEY)
    _, leases = await claimed(client)
    await client.end(*leases, kind=kind, retry_at=START + 50)
    assert (await claimed(client))[0] == ["b"]
    client.clock.advance(50)
    await client.tasks.promote()
    assert await claimed(client) == ([], []), "the one that is tried again waits, too"


async def test_released_task_keeps_its_turn_among_those_of_its_key(client: TaskStoreClient) -> None:
    await client.runner()
    await client.submit("a", concurrency_key=KEY)
    await client.submit("b", concurrency_key=KEY)
    _, leases = await claimed(client)
    await client.end(*leases, kind=CompletionKind.RELEASED)
    assert (await claimed(client))[0] == ["a"]


async def test_cancelled_or_expired_task_gives_its_place_to_the_next(client: TaskStoreClient) -> None:
    await client.runner()
    first = await client.submit("a", concurrency_key=KEY)
    await client.submit("b", concurrency_key=KEY, expires_at=START + 10)
    third = await client.submit("c", concurrency_key=KEY)
    await client.submit("d", concurrency_key=KEY)
    await client.tasks.cancel(ORG, [first, third])
    client.clock.advance(20)
    await client.tasks.promote()
    assert (await claimed(client))[0] == ["d"]


async def test_scheduled_child_and_retried_tasks_wait_for_a_place(client: TaskStoreClient) -> None:
    await client.runner()
    running = await client.submit("running", concurrency_key=KEY)
    _, leases = await claimed(client)
    parent = await client.submit("parent")
    child = await client.submit("child", [parent], concurrency_key=KEY)
    later = await client.submit("later", concurrency_key=KEY, run_at=START + 5)
    again = await client.submit("again", concurrency_key=KEY)
    await client.tasks.cancel(ORG, [again])
    await client.tasks.retry(ORG, [again])
    assert await client.run() == parent
    client.clock.advance(5)
    await client.tasks.promote()
    assert await claimed(client) == ([], [])
    assert {await client.status(task) for task in (child, later, again)} == {TaskStatus.READY}
    assert await client.names(TaskFilter(statuses=frozenset({TaskStatus.READY})), ascending=True) == ["child", "later", "again"]
    medium = next(queue for queue in await client.tasks.queues(ORG) if queue.name == "medium")
    assert medium == QueueState("medium", medium.limits, blocked=0, scheduled=0, ready=3, running=1, oldest_ready_at=START)
    assert await client.status(running) is TaskStatus.RUNNING
    await client.end(*leases)
    order = []
    while (found := await claimed(client))[0]:
        order += found[0]
        await client.end(*found[1])
    assert sorted(order) == ["again", "child", "later"]


async def test_submissions_of_one_key_at_the_same_time_take_one_place(client: TaskStoreClient) -> None:
    await client.runner()
    await asyncio.gather(*(client.submit(str(n), concurrency_key=KEY) for n in range(12)))
    done = 0
    while leases := await client.claim(12):
        assert len(leases) == 1
        await client.end(*leases)
        done += 1
    assert done == 12


async def test_ends_of_one_key_at_the_same_time_leave_no_task_behind(client: TaskStoreClient) -> None:
    await client.runner()
    await client.tasks.enqueue([client.new(str(n), concurrency_key=KEY, max_running_per_key=4) for n in range(40)])
    done = 0
    while leases := await client.claim(40):
        assert len(leases) <= 4
        await asyncio.gather(*(client.end(lease) for lease in leases))
        done += len(leases)
    assert done == 40


async def test_unique_key_gives_the_task_that_is_not_over(client: TaskStoreClient) -> None:
    await client.runner()
    first = await client.submit("sync", unique_key="sync-7")
    assert await client.submit("sync", payload="1", unique_key="sync-7") == first
    assert await client.submit("sync", org_id=OTHER, unique_key="sync-7") != first
    (lease,) = await client.claim(org_id=ORG)
    assert await client.submit("sync", unique_key="sync-7") == first, "it runs"
    await client.end(lease)
    second = await client.submit("sync", unique_key="sync-7")
    assert second != first
    assert await client.tasks.retry(ORG, [first]) == {}, "the second one is not over"
    await client.tasks.cancel(ORG, [second])
    assert await client.tasks.retry(ORG, [first, second]) == {first: TaskStatus.READY}


async def test_unique_key_that_comes_twice_in_one_call_makes_one_task(client: TaskStoreClient) -> None:
    one, two = client.new("one", unique_key="k"), client.new("two", unique_key="k")
    child = client.new("child", [two.id])
    found = await client.tasks.enqueue([one, two, child])
    assert [(each.id, each.created) for each in found] == [(one.id, True), (one.id, False), (child.id, True)]
    detail = await client.tasks.task(ORG, child.id)
    assert detail is not None
    assert [parent.id for parent in detail.parents] == [one.id]


async def test_submissions_of_one_unique_key_at_the_same_time_make_one_task(client: TaskStoreClient) -> None:
    assert len(set(await asyncio.gather(*(client.submit("sync", unique_key="k") for _ in range(10))))) == 1
