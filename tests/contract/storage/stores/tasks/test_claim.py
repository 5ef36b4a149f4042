"""Who is next: organisations in turn, then urgency and patience, within what an operator allows."""

from typing import Any

import pytest

from penstock.domain.durable.queues import QueueLimits, QueueState, sort_key
from tests.contract.storage.stores.tasks.desk import ORG, OTHER, START, Desk


async def order(desk: Desk, limit: int = 1, **values: Any) -> list[str]:
    """The names of everything there is, claimed a few at a time."""
    found: list[str] = []
    while leases := await desk.claim(limit, **values):
        found += [lease.name for lease in leases]
        await desk.end(*leases)
    return found


@pytest.mark.parametrize("limit", [1, 100])
async def test_the_urgent_first_and_then_in_the_order_of_submission(desk: Desk, limit: int) -> None:
    await desk.runner()
    for name, values in (
        ("low", {"queue": "low"}),
        ("five", {}),
        ("nine", {"priority": 9}),
        ("five again", {}),
        ("one", {"priority": 1}),
        ("high", {"queue": "high", "priority": 1}),
    ):
        desk.clock.advance(0.1)
        await desk.submit(name, **values)
    assert await order(desk, limit) == ["high", "nine", "five", "five again", "one", "low"]


async def test_whatever_waits_long_enough_is_next(desk: Desk) -> None:
    await desk.runner()
    await desk.submit("patient", priority=1)
    desk.clock.advance(8 * 60 + 1)
    await desk.submit("urgent", priority=9)
    assert await order(desk) == ["patient", "urgent"]


def test_the_sort_key_is_a_time_less_a_head_start() -> None:
    assert sort_key(START, 10, "medium") == int((START - 600) * 1000)
    assert sort_key(START, 1, "high") < sort_key(START, 10, "medium") < sort_key(START, 10, "low")


async def test_reprioritised_tasks_move(desk: Desk) -> None:
    await desk.runner()
    a, b, c = await desk.submit("a"), await desk.submit("b", priority=6), await desk.submit("c")
    assert await desk.tasks.reprioritise(ORG, [a, c], 8) == [a, c]
    assert await desk.tasks.reprioritise(ORG, [b], 1) == [b]
    assert await order(desk) == ["a", "c", "b"]
    assert await desk.tasks.reprioritise(ORG, [a], 1) == []  # it is over


@pytest.mark.parametrize("limit", [1, 4])
async def test_an_organisation_with_a_backlog_does_not_hold_up_the_others(desk: Desk, limit: int) -> None:
    await desk.runner()
    await desk.tasks.enqueue([desk.new("many", priority=10) for _ in range(30)])
    desk.clock.advance(100)
    await desk.tasks.enqueue([desk.new("few", org_id=OTHER, priority=1, queue="low") for _ in range(5)])
    found = await order(desk, limit)
    assert found[:10].count("few") in (4, 5)
    assert found.count("many") == 30


async def test_a_runner_may_serve_some_queues_or_one_organisation(desk: Desk) -> None:
    await desk.runner()
    for queue in ("high", "low", "mine"):
        await desk.submit(queue, queue=queue)
    await desk.submit("other", org_id=OTHER, queue="mine")
    assert await order(desk, 10, queues=["mine"], org_id=ORG) == ["mine"]
    assert await order(desk, 10, queues=["nothing", "low"]) == ["low"]
    assert await order(desk, 10, org_id=OTHER) == ["other"]
    assert await order(desk, 10) == ["high"]
    assert await desk.claim(0) == []


async def test_a_runner_is_given_what_it_can_run(desk: Desk) -> None:
    await desk.runner()
    for kind, name in (("function", "resize"), ("function", "crop"), ("webhook", "crop"), ("inference", "")):
        await desk.submit(name or kind, kind=kind)
    await desk.tasks.limit_queue(ORG, "medium", QueueLimits(max_running=2))
    assert await order(desk, 10, kinds=["function:rotate"]) == []
    assert await order(desk, 10, kinds=["function:crop", "inference"]) == ["crop", "inference"]
    assert [lease.name for lease in await desk.claim(10)] == ["resize", "crop"]
    assert await desk.claim(10, kinds=["webhook"]) == []


async def test_lanes_of_one_queue_share_what_it_allows(desk: Desk) -> None:
    await desk.runner()
    await desk.tasks.limit_queue(ORG, "medium", QueueLimits(max_running=3))
    await desk.tasks.enqueue([desk.new(f"f{place % 4}") for place in range(12)])
    assert [lease.name for lease in await desk.claim(10)] == ["f0", "f1", "f2"]


async def test_a_paused_queue_starts_nothing_new(desk: Desk) -> None:
    await desk.runner()
    await desk.submit("a")
    await desk.submit("b")
    (running,) = await desk.claim()
    await desk.tasks.limit_queue(ORG, "medium", QueueLimits(paused=True))
    assert await desk.claim(5) == []
    await desk.end(running)
    ticket = desk.tasks.ticket()
    await desk.tasks.limit_queue(ORG, "medium", QueueLimits())
    assert await desk.tasks.wait(ticket, ["medium"], 0.0)
    assert [lease.name for lease in await desk.claim(5)] == ["b"]


async def test_no_more_run_than_the_queue_allows(desk: Desk) -> None:
    await desk.runner()
    await desk.tasks.limit_queue(ORG, "medium", QueueLimits(max_running=3))
    await desk.tasks.enqueue([desk.new() for _ in range(10)])
    await desk.submit(queue="high")
    first = await desk.claim(10)
    assert sorted(lease.queue for lease in first) == ["high", "medium", "medium", "medium"]
    assert await desk.claim(10) == []
    await desk.end(*[lease for lease in first if lease.queue == "medium"][:2])
    assert len(await desk.claim(10)) == 2


async def test_no_more_start_in_a_second_than_the_queue_allows(desk: Desk) -> None:
    await desk.runner()
    await desk.tasks.limit_queue(ORG, "medium", QueueLimits(rate_per_second=4))
    await desk.tasks.enqueue([desk.new() for _ in range(60)])
    started = 0
    for _ in range(20):  # five seconds
        desk.clock.advance(0.25)
        leases = await desk.claim(10)
        started += len(leases)
        await desk.end(*leases)
    assert started == 4 + 19  # a second's worth at once, then as they come
    await desk.tasks.limit_queue(ORG, "medium", QueueLimits(rate_per_second=0.1))
    slow = []
    for _ in range(12):
        desk.clock.advance(5)
        slow += await desk.claim(10)
    assert 6 <= len(slow) <= 7


async def test_the_state_of_queues(desk: Desk) -> None:
    await desk.runner()
    first = await desk.submit("a", queue="mine")
    desk.clock.advance(1)
    await desk.submit("b", queue="mine")
    await desk.submit("c", queue="mine", run_at=START + 100)
    await desk.submit("d", [first], queue="mine")
    await desk.submit("e", org_id=OTHER, queue="mine")
    await desk.tasks.limit_queue(ORG, "mine", QueueLimits(max_running=2, rate_per_second=1.5))
    await desk.claim(1, org_id=ORG)
    empty: dict[str, Any] = {"limits": QueueLimits(), "blocked": 0, "scheduled": 0, "ready": 0, "running": 0, "oldest_ready_at": None}
    limits = QueueLimits(max_running=2, rate_per_second=1.5)
    mine = QueueState("mine", limits, blocked=1, scheduled=1, ready=1, running=1, oldest_ready_at=START + 1)
    named = {name: QueueState(name, **empty) for name in ("high", "low", "medium")}
    assert await desk.tasks.queues(ORG) == [named["high"], named["low"], named["medium"], mine]
