"""Bounded concurrency."""

import asyncio

import pytest

from penstock.compute.worker.slots import WorkerSlots
from penstock.domain.errors import Overloaded


async def test_a_slot_passes_to_whoever_waits_longest() -> None:
    slots = WorkerSlots(limit=1, queue_limit=2)
    await slots.take()
    order: list[str] = []

    async def work(name: str) -> None:
        await slots.take()
        order.append(name)
        slots.give()

    waiting = [asyncio.create_task(work(name)) for name in "ab"]
    await asyncio.sleep(0)
    assert (slots.running, slots.waiting) == (1, 2)
    slots.give()
    await asyncio.gather(*waiting)
    assert order == ["a", "b"]
    await slots.idle()
    assert (slots.running, slots.waiting) == (0, 0)


async def test_beyond_the_queue_it_is_refused_and_told_when_to_come_back() -> None:
    slots = WorkerSlots(limit=1, queue_limit=0)
    await slots.take()
    with pytest.raises(Overloaded) as caught:
        await slots.take()
    assert caught.value.retry_after_seconds == 1.0


async def test_who_leaves_the_queue_is_skipped() -> None:
    slots = WorkerSlots(limit=1, queue_limit=2)
    await slots.take()
    leaving, staying = asyncio.create_task(slots.take()), asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    slots.give()
    await staying
    assert slots.running == 1


async def test_a_slot_given_to_someone_who_leaves_at_that_moment_is_not_lost() -> None:
    slots = WorkerSlots(limit=1, queue_limit=1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    slots.give()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    await slots.idle()
