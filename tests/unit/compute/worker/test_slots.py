"""Bounded concurrency."""

import asyncio

import pytest

from penstock.compute.worker.slots import WorkerSlots
from penstock.domain.errors import Overloaded


async def test_free_slot_goes_to_the_longest_waiting_request() -> None:
    slots = WorkerSlots(limit=1, queue_limit=2)
    await slots.acquire()
    order: list[str] = []

    async def work(name: str) -> None:
        await slots.acquire()
        order.append(name)
        slots.release()

    waiting = [asyncio.create_task(work(name)) for name in "ab"]
    await asyncio.sleep(0)
    assert (slots.running, slots.waiting) == (1, 2)
    slots.release()
    await asyncio.gather(*waiting)
    assert order == ["a", "b"]
    await slots.until_idle()
    assert (slots.running, slots.waiting) == (0, 0)


async def test_request_beyond_the_queue_is_refused_with_a_retry_time() -> None:
    slots = WorkerSlots(limit=1, queue_limit=0)
    await slots.acquire()
    with pytest.raises(Overloaded) as caught:
        await slots.acquire()
    assert caught.value.retry_after_seconds == 1.0


async def test_cancelled_request_in_the_queue_is_skipped() -> None:
    slots = WorkerSlots(limit=1, queue_limit=2)
    await slots.acquire()
    leaving, staying = asyncio.create_task(slots.acquire()), asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    slots.release()
    await staying
    assert slots.running == 1


async def test_slot_given_to_a_request_that_is_cancelled_at_that_moment_is_not_lost() -> None:
    slots = WorkerSlots(limit=1, queue_limit=1)
    await slots.acquire()
    waiting = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    await slots.until_idle()
