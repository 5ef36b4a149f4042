"""Who holds a task may end it, once; nobody else ever may."""

import asyncio

import msgspec

from penstock.domain.durable.leases import CANCELLATIONS, LEASE_SECONDS, LOST_CLAIM_SECONDS, HeartbeatReply, LeaseRef, ProgressReport
from penstock.domain.durable.tasks import CompletionKind, EventType, TaskError, TaskStatus, events
from tests.contract.storage.stores.tasks.task_store_client import FAILED, ORG, START, TaskStoreClient, ended


def held(*leases: object) -> list[LeaseRef]:
    return [LeaseRef(lease.task_id, lease.lease_seq) for lease in leases]  # type: ignore[attr-defined]


async def test_a_lease_says_what_a_runner_must_know(client: TaskStoreClient) -> None:
    await client.runner()
    task = await client.submit("f", key_id="key_1", payload="[1]", priority=7, timeout_seconds=3.0, queue="mine", traceparent="tp")
    client.clock.advance(2)
    (lease,) = await client.claim(5)
    assert (lease.task_id, lease.org_id, lease.key_id, lease.name, lease.payload) == (task, ORG, "key_1", "f", "[1]")
    assert (lease.priority, lease.queue, lease.kind, lease.traceparent) == (7, "mine", "function", "tp")
    assert (lease.attempt, lease.max_attempts, lease.timeout_seconds, lease.has_parents) == (1, 3, 3.0, False)
    assert (lease.enqueued_at, lease.started_at) == (START, START + 2)
    assert await client.status(task) is TaskStatus.RUNNING
    assert await client.claim(5) == []


async def test_a_finish_is_said_once(client: TaskStoreClient) -> None:
    await client.runner()
    task = await client.submit()
    (lease,) = await client.claim()
    client.clock.advance(1)
    assert await client.end(lease, result='{"x": 1}') == [TaskStatus.SUCCEEDED]
    assert await client.end(lease, kind=CompletionKind.FAILED) == [None]
    detail = await client.tasks.task(ORG, task)
    assert detail is not None
    assert (detail.task.status, detail.task.result, detail.task.error) == (TaskStatus.SUCCEEDED, '{"x": 1}', None)
    assert (detail.task.started_at, detail.task.finished_at, detail.task.attempt) == (START, START + 1, 1)
    assert [(a.number, a.runner_id, a.finished_at, a.outcome) for a in detail.attempts] == [
        (1, "run_1", START + 1, CompletionKind.SUCCEEDED)
    ]


async def test_a_batch_of_finishes_says_of_each_what_became_of_it(client: TaskStoreClient) -> None:
    await client.runner()
    for _ in range(4):
        await client.submit(max_attempts=2)
    one, two, three, four = await client.claim(4)
    stale = msgspec.structs.replace(ended(three), lease_seq=three.lease_seq + 1)
    found = await client.tasks.finish(
        "run_1",
        [ended(two), ended(one, CompletionKind.FAILED), stale, ended(four, CompletionKind.RETRIED, retry_at=START + 5), ended(two)],
    )
    assert found == [TaskStatus.SUCCEEDED, TaskStatus.FAILED, None, TaskStatus.SCHEDULED, None]
    assert await client.status(three.task_id) is TaskStatus.RUNNING


async def test_lease_of_another_runner_cannot_be_completed(client: TaskStoreClient) -> None:
    await client.runner()
    await client.runner("run_2")
    await client.submit()
    (lease,) = await client.claim()
    assert await client.end(lease, runner="run_2") == [None]
    assert await client.end(lease) == [TaskStatus.SUCCEEDED]


async def test_a_zombie_is_refused_every_time(client: TaskStoreClient) -> None:
    """A runner that slept past its lease: its task has gone to another one, and none of what it says counts."""
    await client.runner()
    await client.runner("run_2")
    await client.tasks.enqueue([client.new() for _ in range(100)])
    old = await client.claim(100)
    client.clock.advance(LEASE_SECONDS + 1)
    await client.tasks.heartbeat("run_2", [])
    expired = await client.tasks.expired_leases(1000)
    assert {(e.task_id, e.lease_seq, e.runner_id, e.reason) for e in expired} == {(x.task_id, 1, "run_1", "lease_lost") for x in old}
    again = [ended(lease, CompletionKind.RETRIED, retry_at=0.0) for lease in old]
    assert await client.tasks.finish("run_1", again) == [TaskStatus.READY] * 100
    new = await client.claim(100, "run_2")
    assert {(lease.attempt, lease.lease_seq) for lease in new} == {(2, 2)}
    assert await client.end(*old) == [None] * 100
    assert (await client.tasks.heartbeat("run_1", held(*old))).lost == tuple(held(*old))
    assert await client.end(*new, runner="run_2") == [TaskStatus.SUCCEEDED] * 100


async def test_two_claimers_never_get_the_same(client: TaskStoreClient) -> None:
    runners = [await client.runner(f"run_{number}") for number in range(4)]
    await client.tasks.enqueue([client.new() for _ in range(200)])
    found: list[str] = []

    async def claim(runner: str) -> None:
        while leases := await client.claim(7, runner):
            found.extend(lease.task_id for lease in leases)

    await asyncio.gather(*map(claim, runners))
    while rest := await client.claim(100):  # what everybody had locked when somebody looked last
        found.extend(lease.task_id for lease in rest)
    assert len(found) == len(set(found)) == 200


async def test_an_unknown_or_draining_runner_gets_nothing(client: TaskStoreClient) -> None:
    await client.submit()
    assert await client.claim(1, "run_9") == []
    assert await client.tasks.heartbeat("run_9", []) == HeartbeatReply(known=False, draining=False, cancelled=(), lost=())
    await client.runner()
    assert await client.tasks.drain_runner("run_1")
    assert not await client.tasks.drain_runner("run_9")
    assert await client.claim() == []
    assert (await client.tasks.heartbeat("run_1", [])).draining
    assert await client.tasks.drain_runner("run_1", draining=False)
    assert len(await client.claim()) == 1


async def test_a_claim_whose_answer_was_lost_is_given_back_and_not_counted(client: TaskStoreClient) -> None:
    await client.runner()
    await client.submit(max_attempts=1)
    (lost,) = await client.claim()
    client.clock.advance(LOST_CLAIM_SECONDS - 1)
    await client.tasks.heartbeat("run_1", [])
    assert await client.claim() == []
    client.clock.advance(1)
    await client.tasks.heartbeat("run_1", [])
    (again,) = await client.claim()
    assert (again.task_id, again.attempt, again.lease_seq) == (lost.task_id, 1, 2)
    client.clock.advance(LOST_CLAIM_SECONDS + 1)
    assert await client.tasks.heartbeat("run_1", held(again)) == HeartbeatReply(known=True, draining=False, cancelled=(), lost=())
    assert await client.end(lost) == [None]
    assert await client.end(again) == [TaskStatus.SUCCEEDED]


async def test_retries_wait_and_their_attempts_are_told(client: TaskStoreClient) -> None:
    await client.runner()
    task = await client.submit()
    await client.run(CompletionKind.RETRIED, retry_at=START + 10)
    assert await client.status(task) is TaskStatus.SCHEDULED
    assert await client.claim() == []
    client.clock.advance(10)
    due = await client.tasks.promote()
    assert (due.promoted, due.expired, due.next_at) == (1, 0, None)
    await client.run(CompletionKind.FAILED, error=TaskError("last", "No more."))
    detail = await client.tasks.task(ORG, task)
    assert detail is not None
    assert [(a.number, a.outcome, a.error) for a in detail.attempts] == [
        (1, CompletionKind.RETRIED, FAILED),
        (2, CompletionKind.FAILED, TaskError("last", "No more.")),
    ]
    assert [(event.type, event.at, event.attempt) for event in events(detail)] == [
        (EventType.CREATED, START, 0),
        (EventType.CLAIMED, START, 1),
        (EventType.RETRIED, START, 1),
        (EventType.CLAIMED, START + 10, 2),
        (EventType.FAILED, START + 10, 2),
    ]


async def test_the_answer_of_a_failure_is_kept(client: TaskStoreClient) -> None:
    await client.runner()
    task = await client.submit()
    await client.run(CompletionKind.FAILED, result='{"status_code": 400}')
    detail = await client.tasks.task(ORG, task)
    assert detail is not None
    assert (detail.task.result, detail.task.error) == ('{"status_code": 400}', FAILED)


async def test_a_lease_given_back_may_rest_without_being_an_attempt(client: TaskStoreClient) -> None:
    await client.runner()
    task = await client.submit(max_attempts=1)
    await client.run(CompletionKind.RELEASED, retry_at=START + 30)
    assert await client.status(task) is TaskStatus.SCHEDULED
    assert await client.claim() == []
    client.clock.advance(30)
    await client.tasks.promote()
    (lease,) = await client.claim()
    assert (lease.attempt, lease.lease_seq) == (1, 2)
    await client.end(lease, kind=CompletionKind.RELEASED)
    assert await client.status(task) is TaskStatus.READY


async def test_a_runner_that_says_goodbye_gives_back_what_it_holds(client: TaskStoreClient) -> None:
    await client.runner()
    await client.runner("run_2")
    task = await client.submit(max_attempts=1)
    (lease,) = await client.claim()
    assert await client.tasks.forget_runner("run_1") == 1
    assert [one.id for one in await client.tasks.runners()] == ["run_2"]
    assert await client.end(lease) == [None]
    (again,) = await client.claim(1, "run_2")
    assert (again.task_id, again.attempt) == (task, 1)


async def test_runners_are_known_with_what_they_hold(client: TaskStoreClient) -> None:
    await client.runner(
        "run_1",
        org_id=ORG,
        queues=("high", "low"),
        kinds=("function",),
        functions='[{"name": "f"}]',
        version="1",
        identity=b"\x01",
        slots=4,
    )
    await client.submit()
    (lease,) = await client.claim()
    record = await client.tasks.runner("run_1")
    assert record is not None
    assert [record] == await client.tasks.runners()
    assert (record.org_id, record.queues, record.kinds, record.identity, record.slots) == (ORG, ("high", "low"), ("function",), b"\x01", 4)
    assert record.functions == '[{"name": "f"}]'
    assert (record.running, record.last_beat_at, record.draining) == (1, START, False)
    assert await client.tasks.runner("run_9") is None
    client.clock.advance(100)
    assert await client.tasks.forget_silent_runners(60) == 0  # it holds something
    await client.end(lease)
    assert await client.tasks.forget_silent_runners(60) == 1


async def test_a_timeout_that_its_runner_does_not_keep_is_kept_by_the_sweeper(client: TaskStoreClient) -> None:
    await client.runner()
    await client.submit("quick", timeout_seconds=5.0)
    await client.submit("slow")
    quick, _ = await client.claim(2)
    for _ in range(4):
        assert await client.tasks.expired_leases(10) == []
        client.clock.advance(4)
        await client.tasks.heartbeat("run_1", held(quick))
    (expired,) = await client.tasks.expired_leases(10)
    assert (expired.task_id, expired.reason, expired.attempt, expired.max_attempts) == (quick.task_id, "timeout", 1, 3)


async def test_lease_does_not_expire_when_the_clock_is_set_forward(client: TaskStoreClient) -> None:
    await client.runner()
    await client.submit()
    (lease,) = await client.claim()
    client.clock.advance(2)
    client.clock.set_back(-3600)
    assert client.tasks.now() == client.clock.time()
    assert await client.tasks.expired_leases(10) == []
    for _ in range(20):
        client.clock.advance(2)
        await client.tasks.heartbeat("run_1", held(lease))
        assert await client.tasks.expired_leases(10) == []
    assert await client.end(lease) == [TaskStatus.SUCCEEDED]


async def test_lease_of_a_silent_runner_still_expires_after_the_clock_is_set_back(client: TaskStoreClient) -> None:
    await client.runner()
    await client.submit()
    await client.claim()
    client.clock.advance(2)
    client.clock.set_back(3600)
    await client.runner("run_2")
    assert await client.tasks.expired_leases(10) == []
    client.clock.advance(3700)
    assert [one.reason for one in await client.tasks.expired_leases(10)] == ["lease_lost"]


async def test_progress_is_the_last_of_the_holder(client: TaskStoreClient) -> None:
    await client.runner()
    task = await client.submit()
    (lease,) = await client.claim()
    await client.tasks.progress("run_2", [ProgressReport(lease.task_id, lease.lease_seq, "0")])
    await client.tasks.progress("run_1", [ProgressReport(lease.task_id, lease.lease_seq + 1, "0")])
    await client.tasks.progress("run_1", [ProgressReport(lease.task_id, lease.lease_seq, '{"done": 1}')])
    detail = await client.tasks.task(ORG, task)
    assert detail is not None
    assert detail.task.progress == '{"done": 1}'


async def test_cancelling_what_waits_and_what_runs(client: TaskStoreClient) -> None:
    await client.runner()
    running, ready = await client.submit("a"), await client.submit("b")
    later = await client.submit("c", run_at=START + 100)
    blocked = await client.submit("d", [later])
    (lease,) = await client.claim()
    ticket = client.tasks.ticket()
    found = await client.tasks.cancel(ORG, [running, ready, later, blocked, client.ids.next(START)])
    cancelled = TaskStatus.CANCELLED
    assert found == {running: TaskStatus.RUNNING, ready: cancelled, later: cancelled, blocked: cancelled}
    assert await client.tasks.wait(ticket, {CANCELLATIONS}, 0.0)
    assert (await client.tasks.heartbeat("run_1", held(lease))).cancelled == tuple(held(lease))
    detail = await client.tasks.task(ORG, running)
    assert detail is not None
    assert detail.task.cancel_requested
    # Another attempt would not do what was asked.
    assert await client.end(lease, kind=CompletionKind.RETRIED) == [cancelled]
    assert await client.tasks.cancel(ORG, [running]) == {running: cancelled}
    assert await client.claim(5) == []


async def test_task_that_succeeds_before_its_runner_sees_the_cancellation_is_succeeded(client: TaskStoreClient) -> None:
    await client.runner()
    task = await client.submit()
    (lease,) = await client.claim()
    await client.tasks.cancel(ORG, [task])
    assert await client.end(lease) == [TaskStatus.SUCCEEDED]


async def test_failed_task_runs_again_on_retry_and_keeps_its_attempts(client: TaskStoreClient) -> None:
    await client.runner()
    task, waiting = await client.submit("failed", max_attempts=1), await client.submit("waiting")
    await client.run(CompletionKind.FAILED)
    client.clock.advance(5)
    assert await client.tasks.retry(ORG, [task, waiting]) == {task: TaskStatus.READY}
    assert await client.status(task) is TaskStatus.READY
    client.clock.advance(5)
    leases = await client.claim(2)
    lease = next(lease for lease in leases if lease.task_id == task)
    assert (lease.attempt, lease.lease_seq) == (1, 2)
    await client.end(lease)
    detail = await client.tasks.task(ORG, task)
    assert detail is not None
    assert [(a.number, a.started_at, a.outcome) for a in detail.attempts] == [
        (1, START, CompletionKind.FAILED),
        (1, START + 10, CompletionKind.SUCCEEDED),
    ]
    assert (detail.task.error, detail.task.finished_at) == (None, START + 10)


async def test_time_of_a_lease_that_waits_for_its_process_does_not_run_out(client: TaskStoreClient) -> None:
    await client.runner()
    for _ in range(2):
        await client.submit(timeout_seconds=2.0)
    begun, waiting = await client.claim(2)
    for _ in range(4):
        client.clock.advance(5)
        await client.tasks.heartbeat("run_1", held(begun, waiting), held(waiting))
    assert [(each.task_id, each.reason) for each in await client.tasks.expired_leases(10)] == [(begun.task_id, "timeout")]
    detail = await client.tasks.task(ORG, waiting.task_id)
    assert detail is not None
    assert detail.task.started_at == START + 20
    client.clock.advance(5)
    await client.tasks.heartbeat("run_1", held(waiting))
    client.clock.advance(8)
    assert waiting.task_id in {each.task_id for each in await client.tasks.expired_leases(10)}


async def test_a_lease_is_held_by_its_runner_until_it_ends(client: TaskStoreClient) -> None:
    await client.runner()
    await client.submit("one")
    (lease,) = await client.claim(1)
    tasks, runner = client.tasks, "run_1"
    assert await tasks.holds(runner, lease.task_id, lease.lease_seq)
    assert not await tasks.holds("run_other", lease.task_id, lease.lease_seq)
    assert not await tasks.holds(runner, lease.task_id, lease.lease_seq + 1)
    assert not await tasks.holds(runner, "task_unknown", lease.lease_seq)
    await tasks.finish(runner, [ended(lease)])
    assert not await tasks.holds(runner, lease.task_id, lease.lease_seq)
