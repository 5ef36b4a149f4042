"""What happens by the clock: due tasks, late ones, old ones, calendars, minutes, and the news of what became ready."""

import asyncio
import dataclasses

import pytest

from penstock.domain.durable.leases import PromotionResult
from penstock.domain.durable.queues import MinuteStats, QueueLimits, bucket
from penstock.domain.durable.schedules import MissedRuns, Schedule
from penstock.domain.durable.tasks import CompletionKind, TaskStatus
from penstock.domain.errors import Conflict
from penstock.storage.stores import open_store
from tests.contract.storage.stores.conftest import SECRET_KEY
from tests.contract.storage.stores.tasks.task_store_client import ORG, OTHER, START, TaskStoreClient

DAILY = Schedule("sch_1", ORG, "key_1", "daily", "0 8 * * *", "Europe/Berlin", MissedRuns.ONE, '{"kind": "report"}', START, START + 60)


async def test_scheduled_tasks_become_ready_when_they_are_due(client: TaskStoreClient) -> None:
    await client.runner()
    late, early = await client.submit("late", run_at=START + 20), await client.submit("early", run_at=START + 10)
    await client.submit("past", run_at=START - 100)
    assert [lease.name for lease in await client.claim(5)] == ["past"]
    assert await client.tasks.promote() == PromotionResult(0, 0, START + 10)
    client.clock.advance(10)
    assert await client.tasks.promote() == PromotionResult(1, 0, START + 20)
    assert (await client.status(early), await client.status(late)) == (TaskStatus.READY, TaskStatus.SCHEDULED)
    client.clock.advance(10)
    assert await client.tasks.promote() == PromotionResult(1, 0, None)


async def test_task_not_started_before_its_expiry_fails_with_its_children(client: TaskStoreClient) -> None:
    await client.runner()
    ready = await client.submit("ready", expires_at=START + 5)
    later = await client.submit("later", expires_at=START + 5, run_at=START + 50)
    blocked = await client.submit("blocked", [later], expires_at=START + 5)
    child = await client.submit("child", [ready])
    started = await client.submit("started", queue="high", expires_at=START + 5)
    await client.claim()
    client.clock.advance(4)
    assert (await client.tasks.promote()).expired == 0
    client.clock.advance(1)
    assert (await client.tasks.promote()).expired == 3
    for task in (ready, later, blocked, child):
        assert await client.status(task) is TaskStatus.FAILED
    detail = await client.tasks.task(ORG, ready)
    assert detail is not None
    assert (detail.task.error.code if detail.task.error else "") == "expired"
    assert await client.status(started) is TaskStatus.RUNNING


async def test_a_schedule_is_kept_changed_and_removed(client: TaskStoreClient) -> None:
    await client.tasks.save_schedule(DAILY)
    assert await client.tasks.schedule(ORG, "sch_1") == DAILY
    assert await client.tasks.schedule(OTHER, "sch_1") is None
    paused = dataclasses.replace(DAILY, paused=True, next_at=None, last_at=START, missed=MissedRuns.ALL)
    await client.tasks.save_schedule(paused)
    assert await client.tasks.schedules(ORG) == [paused]
    assert await client.tasks.schedules(OTHER) == []
    with pytest.raises(Conflict):
        await client.tasks.save_schedule(dataclasses.replace(DAILY, id="sch_2"))
    assert not await client.tasks.remove_schedule(OTHER, "sch_1")
    assert await client.tasks.remove_schedule(ORG, "sch_1")
    assert await client.tasks.schedules(ORG) == []


async def test_however_many_leaders_a_schedule_fires_once(client: TaskStoreClient) -> None:
    await client.tasks.save_schedule(DAILY)
    assert await client.tasks.due_schedules(10) == []
    client.clock.advance(60)
    (due,) = await client.tasks.due_schedules(10)
    fired = await asyncio.gather(*(client.tasks.fire(due, START + 3600, [client.new("fired")]) for _ in range(10)))
    assert sum(fired) == 1
    assert await client.names() == ["fired"]
    assert await client.tasks.schedule(ORG, "sch_1") == dataclasses.replace(DAILY, next_at=START + 3600, last_at=START + 60)
    assert await client.tasks.due_schedules(10) == []


async def test_a_schedule_that_was_changed_meanwhile_does_not_fire(client: TaskStoreClient) -> None:
    await client.tasks.save_schedule(DAILY)
    await client.tasks.save_schedule(dataclasses.replace(DAILY, cron="0 9 * * *"))
    assert not await client.tasks.fire(DAILY, START + 3600, [client.new("fired")])
    await client.tasks.remove_schedule(ORG, DAILY.id)
    assert not await client.tasks.fire(DAILY, START + 3600, [client.new("fired")])
    assert await client.names() == []


async def test_minutes_add_up_what_happened(client: TaskStoreClient) -> None:
    await client.runner()
    for name in ("a", "b", "c"):
        await client.submit(name)
    await client.submit("child", [await client.submit("parent", queue="high")])
    await client.submit("foreign", org_id=OTHER)
    client.clock.advance(2)
    leases = {lease.name: lease for lease in await client.claim(10)}
    client.clock.advance(0.5)
    await client.end(leases["a"], leases["b"])
    await client.end(leases["c"], kind=CompletionKind.RETRIED, retry_at=START)
    await client.end(leases["parent"], leases["foreign"], kind=CompletionKind.FAILED)

    def stats(queue: str, minute: int, waits: int, runs: int, **counts: int) -> MinuteStats:
        def histogram(place: int, count: int) -> tuple[int, ...]:
            return tuple(count if number == place else 0 for number in range(28))

        return MinuteStats(
            org_id=ORG, queue=queue, minute=minute, waits=histogram(bucket(2), waits), runs=histogram(bucket(0.5), runs), **counts
        )

    minute = int(START // 60)
    wanted = [stats("high", minute, 1, 1, failed=1), stats("medium", minute, 3, 3, succeeded=2, retried=1, failed=1)]
    assert await client.tasks.minutes(ORG, START, START + 60) == wanted
    assert await client.tasks.roll_up() > 0
    assert await client.tasks.roll_up() == 0
    assert await client.tasks.minutes(ORG, START, START + 60) == wanted
    assert await client.tasks.minutes(ORG, START + 120, START + 180) == []
    assert len(await client.tasks.minutes(None, START, START + 60)) == 3
    await client.tasks.cancel(ORG, [await client.submit("d")])
    await client.tasks.roll_up()
    again = await client.tasks.minutes(ORG, START, START + 60)
    assert [(one.queue, one.succeeded, one.cancelled) for one in again] == [("high", 0, 0), ("medium", 2, 1)]


async def test_who_waits_hears_of_what_becomes_ready(client: TaskStoreClient) -> None:
    ticket = client.tasks.ticket()
    waiting = asyncio.create_task(client.tasks.wait(ticket, ["medium"], 30))
    anything = asyncio.create_task(client.tasks.wait(ticket, (), 30))
    await asyncio.sleep(0)
    await client.submit(queue="medium")
    assert await waiting
    assert await anything
    assert await client.tasks.wait(ticket, ["medium"], 0)  # it came after the ticket: no need to wait


async def test_who_waits_for_another_queue_hears_nothing(client: TaskStoreClient) -> None:
    await client.tasks.wait(client.tasks.ticket(), ["high"], 0.2)  # on Postgres whoever starts listening looks once for good measure
    ticket = client.tasks.ticket()
    await client.submit(queue="medium")
    assert not await client.tasks.wait(ticket, ["high"], 0.0)


async def test_a_time_that_comes_is_news_too(client: TaskStoreClient) -> None:
    await client.runner()
    await client.submit(run_at=START + 5)
    ticket = client.tasks.ticket()
    client.clock.advance(5)
    await client.tasks.promote()
    assert await client.tasks.wait(ticket, ["medium"], 0.0)


async def test_other_processes_hear_of_it(client: TaskStoreClient, store_url: str) -> None:
    if not store_url.startswith("postgresql"):
        pytest.skip("a file has one process")
    elsewhere = await open_store(store_url, secret_key=SECRET_KEY)
    while await elsewhere.tasks.wait(elsewhere.tasks.ticket(), ["medium"], 0.3):
        pass  # it has begun to listen
    waiting = asyncio.create_task(elsewhere.tasks.wait(elsewhere.tasks.ticket(), ["medium"], 30))
    await asyncio.sleep(0)
    await client.submit()
    assert await waiting
    await elsewhere.close()


async def test_place_that_is_freed_at_one_gateway_is_news_at_another(client: TaskStoreClient, store_url: str) -> None:
    if not store_url.startswith("postgresql"):
        pytest.skip("a file has one process")
    elsewhere = await open_store(store_url, secret_key=SECRET_KEY)
    while await elsewhere.tasks.wait(elsewhere.tasks.ticket(), ["medium"], 0.3):
        pass  # it has begun to listen
    await client.runner()
    await client.tasks.limit_queue(ORG, "medium", QueueLimits(max_running=1))
    await client.tasks.enqueue([client.new() for _ in range(2)])
    (running,) = await client.claim(10)
    while await elsewhere.tasks.wait(elsewhere.tasks.ticket(), ["medium"], 0.3):
        pass  # the news of the submission have come
    ticket = elsewhere.tasks.ticket()
    assert await elsewhere.tasks.claim("run_1", 10) == []
    waiting = asyncio.create_task(elsewhere.tasks.wait(ticket, ["medium"], 30))
    await client.end(running)
    assert await waiting
    assert len(await elsewhere.tasks.claim("run_1", 10)) == 1
    await elsewhere.close()
