"""Who is next: organisations in turn, then urgency and patience, within what an operator allows."""

import asyncio
from typing import Any

import pytest

from penstock.domain.durable.queues import QueueLimits, QueueState, sort_key
from penstock.domain.durable.tasks import CompletionKind
from tests.contract.storage.stores.tasks.task_store_client import ORG, OTHER, START, TaskStoreClient


async def order(client: TaskStoreClient, limit: int = 1, **values: Any) -> list[str]:
    """The names of everything there is, claimed a few at a time."""
    found: list[str] = []
    while leases := await client.claim(limit, **values):
        found += [lease.name for lease in leases]
        await client.end(*leases)
    return found


@pytest.mark.parametrize("limit", [1, 100])
async def test_the_urgent_first_and_then_in_the_order_of_submission(client: TaskStoreClient, limit: int) -> None:
    await client.runner()
    for name, values in (
        ("low", {"queue": "low"}),
        ("five", {}),
        ("nine", {"priority": 9}),
        ("five again", {}),
        ("one", {"priority": 1}),
        ("high", {"queue": "high", "priority": 1}),
    ):
        client.clock.advance(0.1)
        await client.submit(name, **values)
    assert await order(client, limit) == ["high", "nine", "five", "five again", "one", "low"]


async def test_whatever_waits_long_enough_is_next(client: TaskStoreClient) -> None:
    await client.runner()
    await client.submit("patient", priority=1)
    client.clock.advance(8 * 60 + 1)
    await client.submit("urgent", priority=9)
    assert await order(client) == ["patient", "urgent"]


def test_the_sort_key_is_a_time_less_a_head_start() -> None:
    assert sort_key(START, 10, "medium") == int((START - 600) * 1000)
    assert sort_key(START, 1, "high") < sort_key(START, 10, "medium") < sort_key(START, 10, "low")


async def test_reprioritised_tasks_move(client: TaskStoreClient) -> None:
    await client.runner()
    a, b, c = await client.submit("a"), await client.submit("b", priority=6), await client.submit("c")
    assert await client.tasks.reprioritise(ORG, [a, c], 8) == [a, c]
    assert await client.tasks.reprioritise(ORG, [b], 1) == [b]
    assert await order(client) == ["a", "c", "b"]
    assert await client.tasks.reprioritise(ORG, [a], 1) == []  # it is over


@pytest.mark.parametrize("limit", [1, 4])
async def test_an_organisation_with_a_backlog_does_not_hold_up_the_others(client: TaskStoreClient, limit: int) -> None:
    await client.runner()
    await client.tasks.enqueue([client.new("many", priority=10) for _ in range(30)])
    client.clock.advance(100)
    await client.tasks.enqueue([client.new("few", org_id=OTHER, priority=1, queue="low") for _ in range(5)])
    found = await order(client, limit)
    assert found[:10].count("few") in (4, 5)
    assert found.count("many") == 30


async def test_a_runner_may_serve_some_queues_or_one_organisation(client: TaskStoreClient) -> None:
    await client.runner()
    for queue in ("high", "low", "mine"):
        await client.submit(queue, queue=queue)
    await client.submit("other", org_id=OTHER, queue="mine")
    assert await order(client, 10, queues=["mine"], org_id=ORG) == ["mine"]
    assert await order(client, 10, queues=["nothing", "low"]) == ["low"]
    assert await order(client, 10, org_id=OTHER) == ["other"]
    assert await order(client, 10) == ["high"]
    assert await client.claim(0) == []


async def test_a_runner_is_given_what_it_can_run(client: TaskStoreClient) -> None:
    await client.runner()
    for kind, name in (("function", "resize"), ("function", "crop"), ("webhook", "crop"), ("inference", "")):
        await client.submit(name or kind, kind=kind)
    await client.tasks.limit_queue(ORG, "medium", QueueLimits(max_running=2))
    assert await order(client, 10, kinds=["function:rotate"]) == []
    assert await order(client, 10, kinds=["function:crop", "inference"]) == ["crop", "inference"]
    assert [lease.name for lease in await client.claim(10)] == ["resize", "crop"]
    assert await client.claim(10, kinds=["webhook"]) == []


async def test_lanes_of_one_queue_share_what_it_allows(client: TaskStoreClient) -> None:
    await client.runner()
    await client.tasks.limit_queue(ORG, "medium", QueueLimits(max_running=3))
    await client.tasks.enqueue([client.new(f"f{place % 4}") for place in range(12)])
    assert [lease.name for lease in await client.claim(10)] == ["f0", "f1", "f2"]


async def test_a_paused_queue_starts_nothing_new(client: TaskStoreClient) -> None:
    await client.runner()
    await client.submit("a")
    await client.submit("b")
    (running,) = await client.claim()
    await client.tasks.limit_queue(ORG, "medium", QueueLimits(paused=True))
    assert await client.claim(5) == []
    await client.end(running)
    ticket = client.tasks.ticket()
    await client.tasks.limit_queue(ORG, "medium", QueueLimits())
    assert await client.tasks.wait(ticket, ["medium"], 0.0)
    assert [lease.name for lease in await client.claim(5)] == ["b"]


async def test_no_more_run_than_the_queue_allows(client: TaskStoreClient) -> None:
    await client.runner()
    await client.tasks.limit_queue(ORG, "medium", QueueLimits(max_running=3))
    await client.tasks.enqueue([client.new() for _ in range(10)])
    await client.submit(queue="high")
    first = await client.claim(10)
    assert sorted(lease.queue for lease in first) == ["high", "medium", "medium", "medium"]
    assert await client.claim(10) == []
    await client.end(*[lease for lease in first if lease.queue == "medium"][:2])
    assert len(await client.claim(10)) == 2


async def test_no_more_start_in_a_second_than_the_queue_allows(client: TaskStoreClient) -> None:
    await client.runner()
    await client.tasks.limit_queue(ORG, "medium", QueueLimits(rate_per_second=4))
    await client.tasks.enqueue([client.new() for _ in range(60)])
    started = 0
    for _ in range(20):  # five seconds
        client.clock.advance(0.25)
        leases = await client.claim(10)
        started += len(leases)
        await client.end(*leases)
    assert started == 4 + 19  # a second's worth at once, then as they come
    await client.tasks.limit_queue(ORG, "medium", QueueLimits(rate_per_second=0.1))
    slow = []
    for _ in range(12):
        client.clock.advance(5)
        slow += await client.claim(10)
    assert 6 <= len(slow) <= 7


@pytest.mark.parametrize("kind", [CompletionKind.SUCCEEDED, CompletionKind.RETRIED, CompletionKind.FAILED])
async def test_end_in_a_full_queue_wakes_those_that_wait_for_its_place(client: TaskStoreClient, kind: CompletionKind) -> None:
    await client.runner()
    await client.tasks.limit_queue(ORG, "medium", QueueLimits(max_running=1))
    await client.tasks.enqueue([client.new() for _ in range(3)])
    (running,) = await client.claim(10)
    ticket = client.tasks.ticket()
    assert await client.claim(10) == []
    assert not await client.tasks.wait(ticket, ["medium"], 0.0)
    await client.end(running, kind=kind, retry_at=START + 1_000)
    assert await client.tasks.wait(ticket, ["medium"], 0.0)
    assert len(await client.claim(10)) == 1


async def test_end_in_a_queue_without_a_limit_wakes_no_one(client: TaskStoreClient) -> None:
    await client.runner()
    await client.tasks.limit_queue(OTHER, "medium", QueueLimits(max_running=1))
    await client.submit()
    (running,) = await client.claim()
    ticket = client.tasks.ticket()
    await client.end(running)
    assert not await client.tasks.wait(ticket, [], 0.0)


async def test_rate_that_allows_the_next_start_wakes_those_that_wait(client: TaskStoreClient) -> None:
    await client.runner()
    await client.tasks.limit_queue(ORG, "medium", QueueLimits(rate_per_second=10))
    await client.tasks.enqueue([client.new() for _ in range(12)])
    assert len(await client.claim(20)) == 10
    ticket = client.tasks.ticket()
    assert await client.claim(20) == []
    async with asyncio.timeout(30):
        assert await client.tasks.wait(ticket, ["medium"], 30.0)
    client.clock.advance(0.1)
    assert len(await client.claim(20)) == 1


async def test_change_of_a_queue_does_not_give_its_rate_another_burst(client: TaskStoreClient) -> None:
    await client.runner()
    await client.tasks.limit_queue(ORG, "medium", QueueLimits(rate_per_second=4))
    await client.tasks.enqueue([client.new() for _ in range(12)])
    assert len(await client.claim(20)) == 4
    await client.tasks.limit_queue(ORG, "medium", QueueLimits(rate_per_second=4, paused=True))
    await client.tasks.limit_queue(ORG, "medium", QueueLimits(rate_per_second=4))
    assert await client.claim(20) == []


async def test_the_state_of_queues(client: TaskStoreClient) -> None:
    await client.runner()
    first = await client.submit("a", queue="mine")
    client.clock.advance(1)
    await client.submit("b", queue="mine")
    await client.submit("c", queue="mine", run_at=START + 100)
    await client.submit("d", [first], queue="mine")
    await client.submit("e", org_id=OTHER, queue="mine")
    await client.tasks.limit_queue(ORG, "mine", QueueLimits(max_running=2, rate_per_second=1.5))
    await client.claim(1, org_id=ORG)
    empty: dict[str, Any] = {"limits": QueueLimits(), "blocked": 0, "scheduled": 0, "ready": 0, "running": 0, "oldest_ready_at": None}
    limits = QueueLimits(max_running=2, rate_per_second=1.5)
    mine = QueueState("mine", limits, blocked=1, scheduled=1, ready=1, running=1, oldest_ready_at=START + 1)
    named = {name: QueueState(name, **empty) for name in ("high", "low", "medium")}
    assert await client.tasks.queues(ORG) == [named["high"], named["low"], named["medium"], mine]
