"""What a worker says of itself."""

import asyncio

from penstock.compute.worker.presence import Presence
from penstock.domain.workers import WorkerLoad


def presence() -> Presence:
    return Presence(lambda: WorkerLoad(running=2, waiting=1, kv_usage=1 / 3))


def test_a_report() -> None:
    assert presence().report() == {"running": 2, "waiting": 1, "kv_usage": 0.3333, "draining": False}


def test_it_drains_for_either_reason() -> None:
    for reason in ("stopping", "drained_by_operator"):
        one = presence()
        one.change(**{reason: True})
        assert one.report()["draining"] is True


async def test_whoever_waits_hears_of_a_change_at_once() -> None:
    one = presence()
    waiting = asyncio.create_task(one.changed(60))
    await asyncio.sleep(0)
    one.change(worker_id="wrk_1")
    async with asyncio.timeout(1):
        await waiting
    assert one.worker_id == "wrk_1"


async def test_nobody_waits_longer_than_they_said() -> None:
    async with asyncio.timeout(1):
        await presence().changed(0.001)
