"""Ends on their way: one at once, many in few calls, and all of them before the runner leaves."""

import asyncio
from collections.abc import Sequence
from random import Random

from penstock.domain.durable.leases import AttemptOutput, LeaseCompletion, ProgressReport
from penstock.domain.durable.tasks import CompletionKind, TaskStatus
from penstock.processes.runner.completion_outbox import MOST_AT_ONCE, CompletionOutbox
from penstock.processes.runner.link import CompletionsRefused, Link


class Post:
    """A link that remembers how many ends came in each call."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.came = asyncio.Event()

    async def finish(self, finishes: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        self.calls.append(len(finishes))
        self.came.set()
        return [TaskStatus.SUCCEEDED] * len(finishes)


class Picky(Post):
    """Refuses every call with one of these ends in it, as long as that one brings something."""

    def __init__(self, *refused: int, bare: bool = False) -> None:
        super().__init__()
        self.refused = {end(number).task_id for number in refused}
        self.bare = bare
        self.taken: list[LeaseCompletion] = []

    async def finish(self, finishes: Sequence[LeaseCompletion]) -> list[TaskStatus | None]:
        if any(each.task_id in self.refused and not (self.bare and each.is_bare) for each in finishes):
            raise CompletionsRefused("the gateway refused finish: no")
        self.taken += finishes
        return await super().finish(finishes)


def end(number: int) -> LeaseCompletion:
    return LeaseCompletion(task_id=f"task_{number:016x}", lease_seq=1, kind=CompletionKind.SUCCEEDED, result="1")


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


async def test_refused_end_takes_no_other_with_it_and_is_sent_bare() -> None:
    post = Picky(3, bare=True)
    box, acknowledged = outbox(post)
    for number in range(8):
        box.put(end(number))
    sending = asyncio.create_task(box.send())
    await sent(post, 8)
    await box.flush()
    assert sorted(acknowledged) == [end(number).task_id for number in range(8)]
    (bare,) = [each for each in post.taken if each.task_id == end(3).task_id]
    assert (bare.kind, bare.result, bare.error and bare.error.code) == (CompletionKind.FAILED, None, "not_storable")
    sending.cancel()


async def test_end_that_is_refused_even_bare_is_not_acknowledged() -> None:
    """It stays among the held leases until its time is up, so that the attempt counts."""
    post = Picky(0)
    box, acknowledged = outbox(post)
    box.put(end(0))
    box.put(end(1))
    sending = asyncio.create_task(box.send())
    await sent(post, 1)
    await box.flush()
    assert acknowledged == [end(1).task_id]
    sending.cancel()


class Reports(Post):
    """A link that remembers reports."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[list[ProgressReport]] = []

    async def progress(self, reports: Sequence[ProgressReport]) -> None:
        self.reports.append(list(reports))
        self.came.set()


async def test_progress_and_output_of_a_task_are_one_report_and_large_ones_go_apart() -> None:
    post = Reports()
    box, _ = outbox(post)
    large = AttemptOutput("x" * 4_000_000)
    box.report("task_1", 1, "5")
    box.report_output("task_1", 1, large)
    box.report_output("task_2", 1, AttemptOutput("printed\n"))
    sending = asyncio.create_task(box.send_progress())
    async with asyncio.timeout(5):
        while len(post.reports) < 2:
            post.came.clear()
            await post.came.wait()
    sending.cancel()
    assert post.reports == [
        [ProgressReport("task_1", 1, "5", large)],
        [ProgressReport("task_2", 1, "", AttemptOutput("printed\n"))],
    ]


async def test_report_of_a_task_that_has_ended_is_not_sent() -> None:
    post = Reports()
    box, _ = outbox(post)
    box.report_output("task_0000000000000000", 1, AttemptOutput("printed\n"))
    box.put(end(0))
    box.report("task_1", 1, "5")
    sending = asyncio.create_task(box.send_progress())
    async with asyncio.timeout(5):
        await post.came.wait()
    sending.cancel()
    assert post.reports == [[ProgressReport("task_1", 1, "5")]]
