"""Schedules, fired into a store."""

from itertools import count

import pytest

from penstock.domain.durable.schedules import MissedRuns, Schedule
from penstock.durable.tasks.calendar import Calendar
from penstock.durable.tasks.function_registry import FunctionRegistry
from penstock.durable.tasks.policy import FUNCTION
from tests.contract.storage.stores.tasks.task_store_client import ORG, OTHER, START, TaskStoreClient

FUNCTIONS = '[{"name": "report", "queue": "high", "priority": 9, "max_attempts": 4, "timeout_seconds": 30}]'


@pytest.mark.parametrize(("org_id", "attempts"), [(None, 4), (ORG, 4), (OTHER, FUNCTION.max_attempts)])
async def test_task_of_a_schedule_gets_the_defaults_of_its_function(client: TaskStoreClient, org_id: str | None, attempts: int) -> None:
    await client.runner(functions=FUNCTIONS, kinds=("function:report",), org_id=org_id)
    await client.tasks.save_schedule(
        Schedule("sch_1", ORG, "key_1", "nightly", "@daily", "UTC", MissedRuns.ONE, '{"name": "report"}', START, START)
    )
    numbers = count(1)
    assert await Calendar(client.tasks, FunctionRegistry(client.tasks), lambda now: f"task_{next(numbers):016x}").fire_due() == 1
    detail = await client.tasks.task(ORG, "task_0000000000000001")
    assert detail is not None
    assert detail.task.max_attempts == attempts
    if attempts == 4:
        assert (detail.task.queue, detail.task.priority, detail.task.timeout_seconds) == ("high", 9, 30.0)


async def test_function_that_no_living_runner_offers_is_named(client: TaskStoreClient) -> None:
    await client.runner("run_old", kinds=("function:gone",))
    client.clock.advance(60)
    await client.runner("run_1", kinds=("function:add", "webhook"))
    await client.runner("run_2", kinds=("function:theirs",), org_id=OTHER)
    registry = FunctionRegistry(client.tasks)
    await registry.refresh()
    (gone, theirs) = registry.not_offered(ORG, ["add", "gone", "theirs", "gone"])
    assert gone == "No runner offers the function 'gone'; the task waits until one does (they offer: add)."
    assert "'theirs'" in theirs
    assert registry.not_offered(OTHER, ["add", "theirs"]) == []
    await client.runner("run_all")
    client.clock.advance(3)
    await registry.refresh()
    assert registry.not_offered(ORG, ["anything"]) == [], "it runs every kind"
