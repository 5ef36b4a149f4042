"""Ends on their way: one at once, many in few calls, and all of them before the runner leaves."""

import asyncio
from collections.abc import Sequence
from random import Random

from penstock.domain.durable.leases import LeaseCompletion
from penstock.domain.durable.tasks import CompletionKind, TaskStatus
from penstock.processes.runner.completion_outbox import MOST_AT_ONCE, CompletionOutbox
from penstock.processes.runner.link import Link


class Post:
    """A link that remembers how many ends came in each call."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.came = asyncio.Event()

    async def finish(self, finishes: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        self.calls.append(len(finishes))
        self.came.set()
        return [TaskStatus.SUCCEEDED] * len(finishes)


def end(number: int) -> LeaseCompletion:
    return LeaseCompletion(task_id=f"task_{number:016x}", lease_seq=1, kind=CompletionKind.SUCCEEDED)


async def sent(post: Post, count: int) -> None:
    async with asyncio.timeout(5):
        while sum(post.calls) < count:
            post.came.clear()
            await post.came.wait()


def outbox(post: Post) -> tuple[CompletionOutbox, list[str]]:
    acknowledged: list[str] = []
    link: Link = post  # type: ignore[assignment] # the part of it that is asked here
    return CompletionOutbox(link, lambda task_id, lease_seq: acknowledged.append(task_id), Random(1)), acknowledged


async def test_single_completion_is_sent_at_once_and_many_are_batched() -> None:
    post = Post()
    box, acknowledged = outbox(post)
    sending = asyncio.create_task(box.send())
    box.put(end(0))
    await sent(post, 1)
    assert post.calls == [1]
    for number in range(1, 11):
        box.put(end(number))
    await sent(post, 11)
    assert post.calls == [1, 10]
    for number in range(11, 51):  # one by one, while it rests after a call with many
        box.put(end(number))
        await asyncio.sleep(0)
    await sent(post, 51)
    assert post.calls == [1, 10, 40]
    assert len(acknowledged) == 51
    sending.cancel()


async def test_full_batch_and_flush_do_not_wait() -> None:
    post = Post()
    box, _ = outbox(post)
    sending = asyncio.create_task(box.send())
    for number in range(10):
        box.put(end(number))
    await sent(post, 10)
    for number in range(10, 10 + MOST_AT_ONCE):
        box.put(end(number))
    await sent(post, 10 + MOST_AT_ONCE)
    assert post.calls == [10, MOST_AT_ONCE]
    box.put(end(2000))
    async with asyncio.timeout(5):
        await box.flush()
    assert post.calls[2:] == [1]
    sending.cancel()
