"""Queues with limits, through a runner that waits for their tasks with a claim of ten seconds."""

from typing import Any

import pytest

from penstock.processes.runner.runner import CLAIM_WAIT_SECONDS
from tests.support.task_api_client import TaskApiClient

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def starts(tasks_api: TaskApiClient, queue: str, count: int, limits: dict[str, Any]) -> list[float]:
    """When each task of a queue with limits started, in that order."""
    answer = await tasks_api.platform.http.patch(f"/api/queues/{queue}", json=limits)
    assert answer.status_code == 200, answer.text
    ids = await tasks_api.submit_many(*[{"name": "add", "payload": [1, 2], "queue": queue} for _ in range(count)])
    return sorted([(await tasks_api.until_terminal(task_id))["started_at"] for task_id in ids])


async def test_next_task_of_a_full_queue_starts_when_its_place_is_free(tasks_api: TaskApiClient) -> None:
    times = await starts(tasks_api, "one-by-one", 4, {"max_running": 1})
    assert times[-1] - times[0] < CLAIM_WAIT_SECONDS / 2


async def test_next_task_of_a_queue_with_a_rate_starts_when_the_rate_allows_it(tasks_api: TaskApiClient) -> None:
    times = await starts(tasks_api, "slowly", 6, {"rate_per_second": 3.0})
    assert 0.9 < times[-1] - times[0] < CLAIM_WAIT_SECONDS / 2
