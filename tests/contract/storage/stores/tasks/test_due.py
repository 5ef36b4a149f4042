"""What happens by the clock: due tasks, late ones, old ones, calendars, minutes, and the news of what became ready."""

import asyncio
import dataclasses

import pytest

from penstock.domain.durable.leases import PromotionResult
from penstock.domain.durable.queues import MinuteStats, bucket
from penstock.domain.durable.schedules import MissedRuns, Schedule
from penstock.domain.durable.tasks import CompletionKind, TaskStatus
from penstock.domain.errors import Conflict
from penstock.storage.stores import open_store
from tests.contract.storage.stores.conftest import SECRET_KEY
from tests.contract.storage.stores.tasks.desk import ORG, OTHER, START, Desk

DAILY = Schedule("sch_1", ORG, "key_1", "daily", "0 8 * * *", "Europe/Berlin", MissedRuns.ONE, '{"kind": "report"}', START, START + 60)


async def test_scheduled_tasks_become_ready_when_they_are_due(desk: Desk) -> None:
    await desk.runner()
    late, early = await desk.submit("late", run_at=START + 20), await desk.submit("early", run_at=START + 10)
    await desk.submit("past", run_at=START - 100)
    assert [lease.name for lease in await desk.claim(5)] == ["past"]
    assert await desk.tasks.promote() == PromotionResult(0, 0, START + 10)
    desk.clock.advance(10)
    assert await desk.tasks.promote() == PromotionResult(1, 0, START + 20)
    assert (await desk.status(early), await desk.status(late)) == (TaskStatus.READY, TaskStatus.SCHEDULED)
    desk.clock.advance(10)
    assert await desk.tasks.promote() == PromotionResult(1, 0, None)


async def test_task_not_started_before_its_expiry_fails_with_its_children(desk: Desk) -> None:
    await desk.runner()
    ready = await desk.submit("ready", expires_at=START + 5)
    later = await desk.submit("later", expires_at=START + 5, run_at=START + 50)
    blocked = await desk.submit("blocked", [later], expires_at=START + 5)
    child = await desk.submit("child", [ready])
    started = await desk.submit("started", queue="high", expires_at=START + 5)
    await desk.claim()
    desk.clock.advance(4)
    assert (await desk.tasks.promote()).expired == 0
    desk.clock.advance(1)
    assert (await desk.tasks.promote()).expired == 3
    for task in (ready, later, blocked, child):
        assert await desk.status(task) is TaskStatus.FAILED
    detail = await desk.tasks.task(ORG, ready)
    assert detail is not None
    assert (detail.task.error.code if detail.task.error else "") == "expired"
    assert await desk.status(started) is TaskStatus.RUNNING


async def test_a_schedule_is_kept_changed_and_removed(desk: Desk) -> None:
    await desk.tasks.save_schedule(DAILY)
    assert await desk.tasks.schedule(ORG, "sch_1") == DAILY
    assert await desk.tasks.schedule(OTHER, "sch_1") is None
    paused = dataclasses.replace(DAILY, paused=True, next_at=None, last_at=START, missed=MissedRuns.ALL)
    await desk.tasks.save_schedule(paused)
    assert await desk.tasks.schedules(ORG) == [paused]
    assert await desk.tasks.schedules(OTHER) == []
    with pytest.raises(Conflict):
        await desk.tasks.save_schedule(dataclasses.replace(DAILY, id="sch_2"))
    assert not await desk.tasks.remove_schedule(OTHER, "sch_1")
    assert await desk.tasks.remove_schedule(ORG, "sch_1")
    assert await desk.tasks.schedules(ORG) == []


async def test_however_many_leaders_a_schedule_fires_once(desk: Desk) -> None:
    await desk.tasks.save_schedule(DAILY)
    assert await desk.tasks.due_schedules(10) == []
    desk.clock.advance(60)
    (due,) = await desk.tasks.due_schedules(10)
    fired = await asyncio.gather(*(desk.tasks.fire(due, START + 3600, [desk.new("fired")]) for _ in range(10)))
    assert sum(fired) == 1
    assert await desk.names() == ["fired"]
    assert await desk.tasks.schedule(ORG, "sch_1") == dataclasses.replace(DAILY, next_at=START + 3600, last_at=START + 60)
    assert await desk.tasks.due_schedules(10) == []


async def test_a_schedule_that_was_changed_meanwhile_does_not_fire(desk: Desk) -> None:
    await desk.tasks.save_schedule(DAILY)
    await desk.tasks.save_schedule(dataclasses.replace(DAILY, cron="0 9 * * *"))
    assert not await desk.tasks.fire(DAILY, START + 3600, [desk.new("fired")])
    await desk.tasks.remove_schedule(ORG, DAILY.id)
    assert not await desk.tasks.fire(DAILY, START + 3600, [desk.new("fired")])
    assert await desk.names() == []


async def test_minutes_add_up_what_happened(desk: Desk) -> None:
    await desk.runner()
    for name in ("a", "b", "c"):
        await desk.submit(name)
    await desk.submit("child", [await desk.submit("parent", queue="high")])
    await desk.submit("foreign", org_id=OTHER)
    desk.clock.advance(2)
    leases = {lease.name: lease for lease in await desk.claim(10)}
    desk.clock.advance(0.5)
    await desk.end(leases["a"], leases["b"])
    await desk.end(leases["c"], kind=CompletionKind.RETRIED, retry_at=START)
    await desk.end(leases["parent"], leases["foreign"], kind=CompletionKind.FAILED)

    def stats(queue: str, minute: int, waits: int, runs: int, **counts: int) -> MinuteStats:
        def histogram(place: int, count: int) -> tuple[int, ...]:
            return tuple(count if number == place else 0 for number in range(28))

        return MinuteStats(
            org_id=ORG, queue=queue, minute=minute, waits=histogram(bucket(2), waits), runs=histogram(bucket(0.5), runs), **counts
        )

    minute = int(START // 60)
    wanted = [stats("high", minute, 1, 1, failed=1), stats("medium", minute, 3, 3, succeeded=2, retried=1, failed=1)]
    assert await desk.tasks.minutes(ORG, START, START + 60) == wanted
    assert await desk.tasks.roll_up() > 0
    assert await desk.tasks.roll_up() == 0
    assert await desk.tasks.minutes(ORG, START, START + 60) == wanted
    assert await desk.tasks.minutes(ORG, START + 120, START + 180) == []
    assert len(await desk.tasks.minutes(None, START, START + 60)) == 3
    await desk.tasks.cancel(ORG, [await desk.submit("d")])
    await desk.tasks.roll_up()
    again = await desk.tasks.minutes(ORG, START, START + 60)
    assert [(one.queue, one.succeeded, one.cancelled) for one in again] == [("high", 0, 0), ("medium", 2, 1)]


async def test_who_waits_hears_of_what_becomes_ready(desk: Desk) -> None:
    ticket = desk.tasks.ticket()
    waiting = asyncio.create_task(desk.tasks.wait(ticket, ["medium"], 30))
    anything = asyncio.create_task(desk.tasks.wait(ticket, (), 30))
    await asyncio.sleep(0)
    await desk.submit(queue="medium")
    assert await waiting
    assert await anything
    assert await desk.tasks.wait(ticket, ["medium"], 0)  # it came after the ticket: no need to wait


async def test_who_waits_for_another_queue_hears_nothing(desk: Desk) -> None:
    await desk.tasks.wait(desk.tasks.ticket(), ["high"], 0.2)  # on Postgres whoever starts listening looks once for good measure
    ticket = desk.tasks.ticket()
    await desk.submit(queue="medium")
    assert not await desk.tasks.wait(ticket, ["high"], 0.0)


async def test_a_time_that_comes_is_news_too(desk: Desk) -> None:
    await desk.runner()
    await desk.submit(run_at=START + 5)
    ticket = desk.tasks.ticket()
    desk.clock.advance(5)
    await desk.tasks.promote()
    assert await desk.tasks.wait(ticket, ["medium"], 0.0)


async def test_other_processes_hear_of_it(desk: Desk, store_url: str) -> None:
    if not store_url.startswith("postgresql"):
        pytest.skip("a file has one process")
    elsewhere = await open_store(store_url, secret_key=SECRET_KEY)
    while await elsewhere.tasks.wait(elsewhere.tasks.ticket(), ["medium"], 0.3):
        pass  # it has begun to listen
    waiting = asyncio.create_task(elsewhere.tasks.wait(elsewhere.tasks.ticket(), ["medium"], 30))
    await asyncio.sleep(0)
    await desk.submit()
    assert await waiting
    await elsewhere.close()
