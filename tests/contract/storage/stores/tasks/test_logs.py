"""What functions printed, kept with their attempts."""

from penstock.domain.durable.leases import AttemptOutput, ProgressReport
from penstock.domain.durable.tasks import CompletionKind, TaskLog
from tests.contract.storage.stores.tasks.task_store_client import ORG, OTHER, START, TaskStoreClient

KEPT = 20


def log(attempt: int, text: str, left_out_bytes: int = 0) -> TaskLog:
    return TaskLog(attempt=attempt, runner_id="run_1", started_at=START, text=text, left_out_bytes=left_out_bytes)


async def test_logs_of_each_attempt_are_kept_until_the_task_is_deleted(client: TaskStoreClient) -> None:
    await client.runner()
    task = await client.submit()
    assert await client.tasks.logs(ORG, task) == []
    (lease,) = await client.claim()
    await client.end(lease, kind=CompletionKind.RETRIED, output=AttemptOutput("one\n", 5))
    (lease,) = await client.claim()
    await client.end(lease, kind=CompletionKind.RETRIED)
    (lease,) = await client.claim()
    await client.end(lease, output=AttemptOutput("three\n"))
    assert await client.tasks.logs(ORG, task) == [log(1, "one\n", 5), log(3, "three\n")]
    await client.tasks.retry(ORG, [task])
    (lease,) = await client.claim()
    await client.end(lease, output=AttemptOutput("again\n"))
    assert await client.tasks.logs(ORG, task) == [log(1, "one\n", 5), log(3, "three\n"), log(1, "again\n")]
    assert await client.tasks.logs(OTHER, task) is None
    assert await client.tasks.logs(ORG, "task_0000000000000000") is None
    await client.tasks.delete(ORG, [task])
    assert await client.tasks.logs(ORG, task) is None


async def test_output_of_a_running_attempt_is_kept_until_its_end_replaces_it(client: TaskStoreClient) -> None:
    await client.runner()
    task, other = await client.submit(), await client.submit()
    one, two = await client.claim(2)
    for text in ("1\n", "1\n2\n"):
        reports = [ProgressReport(each.task_id, each.lease_seq, "5", AttemptOutput(text)) for each in (one, two)]
        await client.tasks.progress("run_1", [*reports, ProgressReport(task, 7, "", AttemptOutput("stale"))])
    assert await client.tasks.logs(ORG, task) == [log(1, "1\n2\n")]
    await client.end(one, output=AttemptOutput("1\n2\n3\n", 4))
    await client.tasks.progress("run_1", [ProgressReport(task, one.lease_seq, "", AttemptOutput("late"))])
    await client.end(two, kind=CompletionKind.RETRIED)
    assert await client.tasks.logs(ORG, task) == [log(1, "1\n2\n3\n", 4)]
    assert await client.tasks.logs(ORG, other) == [log(1, "1\n2\n")]


async def test_logs_of_the_last_attempts_only_are_kept(client: TaskStoreClient) -> None:
    await client.runner()
    tasks = [await client.submit(max_attempts=100) for _ in range(2)]
    for attempt in range(1, KEPT + 4):
        leases = await client.claim(2)
        await client.end(*leases, kind=CompletionKind.RETRIED, output=AttemptOutput(f"{attempt}"))
    for task in tasks:
        assert [each.text for each in await client.tasks.logs(ORG, task) or ()] == [str(number) for number in range(4, KEPT + 4)]
