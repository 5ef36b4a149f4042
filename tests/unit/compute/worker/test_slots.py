"""Bounded concurrency."""

import asyncio

import pytest

from penstock.compute.worker.slots import WorkerSlots
from penstock.domain.errors import Overloaded


async def test_free_slot_goes_to_the_longest_waiting_request() -> None:
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


async def test_request_beyond_the_queue_is_refused_with_a_retry_time() -> None:
    slots = WorkerSlots(limit=1, queue_limit=0)
    await slots.take()
    with pytest.raises(Overloaded) as caught:
        await slots.take()
    assert caught.value.retry_after_seconds == 1.0


async def test_cancelled_request_in_the_queue_is_skipped() -> None:
    slots = WorkerSlots(limit=1, queue_limit=2)
    await slots.take()
    leaving, staying = asyncio.create_task(slots.take()), asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    slots.give()
    await staying
    assert slots.running == 1


async def test_slot_given_to_a_request_that_is_cancelled_at_that_moment_is_not_lost() -> None:
    slots = WorkerSlots(limit=1, queue_limit=1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    slots.give()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    await slots.idle()
