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
from tests.unit.processes.streams.office import Desk


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
    desk = Desk()
    desk.put(*numbers(95))
    intake = desk.intake()
    async with running(intake) as task:
        await intake.progressed.until(lambda: len(desk.settled) == 95, 10)
    task.result()
    assert desk.payloads == list(range(95))
    assert (intake.counts.taken, intake.counts.created, intake.counts.repeated, intake.unacknowledged) == (95, 95, 0, 0)
    assert max(desk.office.submissions) <= 10
    assert desk.dead == []


async def test_what_can_never_be_a_task_becomes_a_dead_letter_alone() -> None:
    desk = Desk()
    desk.office.trouble = lambda tasks: (
        SubmissionRejected("unknown_name", "No 13s.") if any(task["payload"] == 13 for task in tasks) else None
    )
    desk.put(*numbers(10), b"{", b"13", *numbers(5), b"\xc3\xa4 [")
    intake = desk.intake(IntakeLimits(workers=1, batch=100))
    async with running(intake):
        await intake.progressed.until(lambda: len(desk.settled) == 18, 10)
    assert len(desk.office.tasks) == 15
    found = [(message.value, dict(message.headers)) for message in desk.dead]
    assert [(value, headers["penstock-code"], headers["penstock-source"]) for value, headers in found] == [
        (b"{", "invalid_json", "memory:in:10"),
        (b"\xc3\xa4 [", "invalid_json", "memory:in:17"),
        (b"13", "unknown_name", "memory:in:11"),
    ]
    assert all(headers["colour"] == "red" and headers["penstock-reason"].isascii() for _, headers in found)
    # Halved until the guilty one is alone: not asked for one by one.
    assert len(desk.office.submissions) <= 10


async def test_without_a_place_for_dead_letters_it_stops_there() -> None:
    desk = Desk()
    desk.put(b"1", b"{")
    with pytest.raises(NoDeadLetters, match="memory:in:1 can never become a task"):
        await asyncio.wait_for(desk.intake(IntakeLimits(workers=1, batch=2), dead=False).run(), 10)
    assert (desk.settled, desk.held) == (set(), set())


async def test_a_key_that_may_not_do_this_stops_it() -> None:
    desk = Desk()
    desk.office.trouble = lambda _tasks: NotAllowed("This needs the scope 'tasks:write'.")
    desk.put(*numbers(30))
    intake = desk.intake()
    with pytest.raises(NotAllowed):
        await asyncio.wait_for(intake.run(), 10)
    intake.stop()
    assert (desk.settled, desk.held) == (set(), set())


async def test_it_waits_as_long_as_the_gateway_asks() -> None:
    desk = Desk()
    refusals: list[float] = []

    def busy(_tasks: Any) -> Exception | None:
        refusals.append(asyncio.get_running_loop().time())
        return GatewayUnavailable("HTTP 429", 0.3) if len(refusals) == 1 else None

    desk.office.trouble = busy
    desk.put(*numbers(3))
    intake = desk.intake(IntakeLimits(workers=1, batch=3))
    async with running(intake):
        await intake.progressed.until(lambda: len(desk.settled) == 3, 10)
    assert refusals[1] - refusals[0] >= 0.3
    assert desk.payloads == [0, 1, 2]


async def test_an_answer_that_does_not_arrive_doubles_nothing() -> None:
    desk = Desk()
    lost = iter([GatewayUnavailable("timed out"), GatewayUnavailable("timed out")])
    desk.office.after = lambda _tasks: next(lost, None)
    desk.put(*numbers(40))
    intake = desk.intake()
    async with running(intake):
        await intake.progressed.until(lambda: len(desk.settled) == 40, 10)
    assert desk.payloads == list(range(40))
    assert intake.counts.created + intake.counts.repeated == 40
    assert intake.counts.repeated > 0


async def test_cut_off_before_settling_and_started_again() -> None:
    """As kill -9 would: the tasks are there, the broker knows nothing of it."""
    desk = Desk()
    desk.put(*numbers(40))
    reached = asyncio.Event()
    never = asyncio.Event()
    first = desk.intake()

    async def stuck(_records: Any) -> None:
        reached.set()
        await never.wait()

    first._source.acknowledge = stuck  # type: ignore[method-assign,assignment]  # the moment of the crash
    task = asyncio.create_task(first.run())
    await asyncio.wait_for(reached.wait(), 10)
    task.cancel()
    await asyncio.wait([task])
    assert desk.office.tasks
    assert desk.settled == set()
    second = desk.intake()
    async with running(second):
        await second.progressed.until(lambda: len(desk.settled) == 40, 10)
    assert desk.payloads == list(range(40))
    assert second.counts.repeated > 0


async def test_settings_that_change_between_two_deliveries_make_no_second_task() -> None:
    desk = Desk()
    desk.put(*numbers(5))
    intake = desk.intake()
    async with running(intake):
        await intake.progressed.until(lambda: len(desk.settled) == 5, 10)
    desk.broker.topic("in").acknowledged["s"].clear()
    desk.template = TaskTemplate("s", {"kind": "function", "name": "another"})
    again = desk.intake()
    async with running(again):
        await again.progressed.until(lambda: len(desk.settled) == 5, 10)
    assert {task["name"] for task in desk.office.tasks.values()} == {"count"}
    assert (again.counts.repeated, desk.dead) == (5, [])


async def test_no_more_in_hand_than_allowed() -> None:
    desk = Desk()
    free = asyncio.Event()
    seen: list[int] = []

    async def slow(tasks: Any) -> Any:
        seen.append(len(desk.held))
        await free.wait()
        return await original(tasks)

    original = desk.office.submit
    desk.office.submit = slow  # type: ignore[method-assign]
    desk.put(*numbers(100))
    intake = desk.intake(IntakeLimits(workers=2, batch=10, in_flight=35))
    async with running(intake):
        await intake.progressed.until(lambda: intake.unacknowledged == 35, 10)
        assert len(desk.held) == 35
        free.set()
        await intake.progressed.until(lambda: len(desk.settled) == 100, 10)
    assert max(seen) <= 35


async def test_stopping_finishes_what_is_in_hand() -> None:
    desk = Desk()
    busy = iter([GatewayUnavailable("HTTP 503")] * 5)
    desk.office.trouble = lambda _tasks: next(busy, None)
    desk.put(*numbers(30))
    intake = desk.intake()
    async with running(intake) as task:
        await intake.progressed.until(lambda: intake.unacknowledged > 0, 10)
        intake.stop()
        await asyncio.wait([task], timeout=10)
    task.result()
    assert desk.settled == {n for n in range(30) if n in desk.payloads}
    assert len(desk.settled) >= 10
    assert desk.held == set()


async def test_stopping_gives_back_what_cannot_be_finished() -> None:
    desk = Desk()
    desk.office.trouble = lambda _tasks: GatewayUnavailable("nobody is there")
    desk.put(*numbers(30))
    intake = desk.intake(IntakeLimits(workers=2, batch=10, drain_seconds=0.2))
    async with running(intake) as task:
        await intake.progressed.until(lambda: intake.unacknowledged == 30, 10)
        intake.stop()
        await asyncio.wait([task], timeout=10)
    task.result()
    assert (desk.settled, desk.held, intake.unacknowledged) == (set(), set(), 0)
