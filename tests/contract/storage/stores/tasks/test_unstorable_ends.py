"""An end that the database does not take: it is written bare, counts as an attempt, and takes no other end with it."""

import pytest

from penstock.domain.durable.leases import LOST_CLAIM_SECONDS, AttemptOutput
from penstock.domain.durable.tasks import CompletionKind, TaskError, TaskStatus
from tests.contract.storage.stores.tasks.task_store_client import ORG, TaskStoreClient, ended

HALF = "half a pair \ud800"
"""No driver can write it, and the border that would have replaced it was passed by."""


@pytest.mark.parametrize(
    "fields",
    [{"result": f'"{HALF}"'}, {"output": AttemptOutput(HALF)}, {"error": TaskError("raised", HALF)}],
    ids=["result", "output", "error"],
)
@pytest.mark.parametrize("kind", [CompletionKind.SUCCEEDED, CompletionKind.FAILED], ids=["succeeded", "failed"])
async def test_end_that_cannot_be_written_fails_alone(client: TaskStoreClient, fields: dict[str, object], kind: CompletionKind) -> None:
    await client.runner()
    await client.tasks.enqueue([client.new() for _ in range(9)])
    leases = await client.claim(9)
    ends = [ended(lease) if index != 4 else ended(lease, kind, **fields) for index, lease in enumerate(leases)]
    assert await client.tasks.finish("run_1", ends) == [TaskStatus.SUCCEEDED] * 4 + [TaskStatus.FAILED] + [TaskStatus.SUCCEEDED] * 4
    detail = await client.tasks.task(ORG, leases[4].task_id)
    assert detail is not None
    assert detail.task.error is not None
    assert (detail.task.error.code, detail.task.result, detail.task.attempt) == ("not_storable", None, 1)


async def test_retry_that_cannot_be_written_counts_as_an_attempt(client: TaskStoreClient) -> None:
    await client.runner()
    task = await client.submit(max_attempts=2)
    (lease,) = await client.claim()
    error = TaskError("raised", HALF)
    assert await client.end(lease, kind=CompletionKind.RETRIED, error=error) == [TaskStatus.READY]
    client.clock.advance(LOST_CLAIM_SECONDS + 1)
    await client.tasks.heartbeat("run_1", [])
    (again,) = await client.claim()
    assert (again.attempt, again.lease_seq) == (2, 2)
    assert await client.end(again, kind=CompletionKind.FAILED, error=error) == [TaskStatus.FAILED]
    assert await client.status(task) is TaskStatus.FAILED


async def test_task_with_ever_new_words_in_its_errors_can_still_end(client: TaskStoreClient) -> None:
    """The index of its words has a bound: 1 MB on PostgreSQL."""
    await client.runner()
    task = await client.submit(max_attempts=100)
    for attempt in range(60):
        (lease,) = await client.claim()
        words = " ".join(f"word{attempt}x{number}" for number in range(3_000))
        await client.end(lease, kind=CompletionKind.RETRIED, error=TaskError("raised", words))
    (lease,) = await client.claim()
    assert await client.end(lease, result='"found at last"') == [TaskStatus.SUCCEEDED]
    detail = await client.tasks.task(ORG, task)
    assert detail is not None
    assert detail.task.result == '"found at last"'
