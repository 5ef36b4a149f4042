"""Records become tasks, each once, whatever the gateway says and wherever the process is cut off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock.processes.streams.dead_letters import NoDeadLetters
from penstock.processes.streams.gateway_client import GatewayUnavailable, NotAllowed, SubmissionRejected
from penstock.processes.streams.intake import Intake, IntakeLimits
from penstock.processes.streams.records import TaskTemplate
from tests.support.stream_harness import StreamHarness


@asynccontextmanager
async def running(intake: Intake) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(intake.run())
    try:
        yield task
    finally:
        intake.stop()
        await asyncio.wait([task])


def numbers(count: int) -> list[bytes]:
    return [b"%d" % n for n in range(count)]


async def test_each_record_is_one_task() -> None:
    harness = StreamHarness()
    harness.put(*numbers(95))
    intake = harness.intake()
    async with running(intake) as task:
        await intake.progressed.until(lambda: len(harness.settled) == 95, 10)
    task.result()
    assert harness.payloads == list(range(95))
    assert (intake.counts.taken, intake.counts.created, intake.counts.repeated, intake.unacknowledged) == (95, 95, 0, 0)
    assert max(harness.task_api.submissions) <= 10
    assert harness.dead == []


async def test_message_that_cannot_become_a_task_is_dead_lettered_without_its_batch() -> None:
    harness = StreamHarness()
    harness.task_api.trouble = lambda tasks: (
        SubmissionRejected("unknown_name", "No 13s.") if any(task["payload"] == 13 for task in tasks) else None
    )
    harness.put(*numbers(10), b"{", b"13", *numbers(5), b"\xc3\xa4 [")
    intake = harness.intake(IntakeLimits(workers=1, batch=100))
    async with running(intake):
        await intake.progressed.until(lambda: len(harness.settled) == 18, 10)
    assert len(harness.task_api.tasks) == 15
    found = [(message.value, dict(message.headers)) for message in harness.dead]
    assert [(value, headers["penstock-code"], headers["penstock-source"]) for value, headers in found] == [
        (b"{", "invalid_json", "memory:in:10"),
        (b"\xc3\xa4 [", "invalid_json", "memory:in:17"),
        (b"13", "unknown_name", "memory:in:11"),
    ]
    assert all(headers["colour"] == "red" and headers["penstock-reason"].isascii() for _, headers in found)
    # Halved until the guilty one is alone: not asked for one by one.
    assert len(harness.task_api.submissions) <= 10


async def test_intake_stops_at_an_invalid_record_without_dead_letter_topic() -> None:
    harness = StreamHarness()
    harness.put(b"1", b"{")
    with pytest.raises(NoDeadLetters, match="memory:in:1 can never become a task"):
        await asyncio.wait_for(harness.intake(IntakeLimits(workers=1, batch=2), dead=False).run(), 10)
    assert (harness.settled, harness.held) == (set(), set())


async def test_intake_stops_when_the_key_is_not_allowed() -> None:
    harness = StreamHarness()
    harness.task_api.trouble = lambda _tasks: NotAllowed("This needs the scope 'tasks:write'.")
    harness.put(*numbers(30))
    intake = harness.intake()
    with pytest.raises(NotAllowed):
        await asyncio.wait_for(intake.run(), 10)
    intake.stop()
    assert (harness.settled, harness.held) == (set(), set())


async def test_intake_waits_for_the_retry_after() -> None:
    harness = StreamHarness()
    refusals: list[float] = []

    def busy(_tasks: Any) -> Exception | None:
        refusals.append(asyncio.get_running_loop().time())
        return GatewayUnavailable("HTTP 429", 0.3) if len(refusals) == 1 else None

    harness.task_api.trouble = busy
    harness.put(*numbers(3))
    intake = harness.intake(IntakeLimits(workers=1, batch=3))
    async with running(intake):
        await intake.progressed.until(lambda: len(harness.settled) == 3, 10)
    assert refusals[1] - refusals[0] >= 0.3
    assert harness.payloads == [0, 1, 2]


async def test_lost_answer_creates_no_second_task() -> None:
    harness = StreamHarness()
    lost = iter([GatewayUnavailable("timed out"), GatewayUnavailable("timed out")])
    harness.task_api.after = lambda _tasks: next(lost, None)
    harness.put(*numbers(40))
    intake = harness.intake()
    async with running(intake):
        await intake.progressed.until(lambda: len(harness.settled) == 40, 10)
    assert harness.payloads == list(range(40))
    assert intake.counts.created + intake.counts.repeated == 40
    assert intake.counts.repeated > 0


async def test_crash_before_acknowledging_creates_no_second_task() -> None:
    """As kill -9 would: the tasks are there, the broker knows nothing of it."""
    harness = StreamHarness()
    harness.put(*numbers(40))
    reached = asyncio.Event()
    never = asyncio.Event()
    first = harness.intake()

    async def stuck(_records: Any) -> None:
        reached.set()
        await never.wait()

    first._source.acknowledge = stuck  # type: ignore[method-assign,assignment]  # the moment of the crash
    task = asyncio.create_task(first.run())
    await asyncio.wait_for(reached.wait(), 10)
    task.cancel()
    await asyncio.wait([task])
    assert harness.task_api.tasks
    assert harness.settled == set()
    second = harness.intake()
    async with running(second):
        await second.progressed.until(lambda: len(harness.settled) == 40, 10)
    assert harness.payloads == list(range(40))
    assert second.counts.repeated > 0


async def test_settings_that_change_between_two_deliveries_make_no_second_task() -> None:
    harness = StreamHarness()
    harness.put(*numbers(5))
    intake = harness.intake()
    async with running(intake):
        await intake.progressed.until(lambda: len(harness.settled) == 5, 10)
    harness.broker.topic("in").acknowledged["s"].clear()
    harness.template = TaskTemplate("s", {"kind": "function", "name": "another"})
    again = harness.intake()
    async with running(again):
        await again.progressed.until(lambda: len(harness.settled) == 5, 10)
    assert {task["name"] for task in harness.task_api.tasks.values()} == {"count"}
    assert (again.counts.repeated, harness.dead) == (5, [])


async def test_no_more_records_are_unacknowledged_than_allowed() -> None:
    harness = StreamHarness()
    free = asyncio.Event()
    seen: list[int] = []

    async def slow(tasks: Any) -> Any:
        seen.append(len(harness.held))
        await free.wait()
        return await original(tasks)

    original = harness.task_api.submit
    harness.task_api.submit = slow  # type: ignore[method-assign]
    harness.put(*numbers(100))
    intake = harness.intake(IntakeLimits(workers=2, batch=10, in_flight=35))
    async with running(intake):
        await intake.progressed.until(lambda: intake.unacknowledged == 35, 10)
        assert len(harness.held) == 35
        free.set()
        await intake.progressed.until(lambda: len(harness.settled) == 100, 10)
    assert max(seen) <= 35


async def test_stop_finishes_unacknowledged_records() -> None:
    harness = StreamHarness()
    busy = iter([GatewayUnavailable("HTTP 503")] * 5)
    harness.task_api.trouble = lambda _tasks: next(busy, None)
    harness.put(*numbers(30))
    intake = harness.intake()
    async with running(intake) as task:
        await intake.progressed.until(lambda: intake.unacknowledged > 0, 10)
        intake.stop()
        await asyncio.wait([task], timeout=10)
    task.result()
    assert harness.settled == {n for n in range(30) if n in harness.payloads}
    assert len(harness.settled) >= 10
    assert harness.held == set()


async def test_stop_releases_records_that_cannot_be_finished() -> None:
    harness = StreamHarness()
    harness.task_api.trouble = lambda _tasks: GatewayUnavailable("nobody is there")
    harness.put(*numbers(30))
    intake = harness.intake(IntakeLimits(workers=2, batch=10, drain_seconds=0.2))
    async with running(intake) as task:
        await intake.progressed.until(lambda: intake.unacknowledged == 30, 10)
        intake.stop()
        await asyncio.wait([task], timeout=10)
    task.result()
    assert (harness.settled, harness.held, intake.unacknowledged) == (set(), set(), 0)
