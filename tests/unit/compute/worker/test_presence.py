"""What a worker tells gateways about its state, and the signal when that changes."""

import asyncio

from penstock.compute.worker.presence import Presence
from penstock.domain.workers import WorkerLoad
from penstock.wire.joining.workers import Heartbeat, LinkLine


def presence() -> Presence:
    return Presence(lambda: WorkerLoad(running=2, waiting=1, kv_usage=1 / 3))


def test_heartbeat_and_link_line_carry_the_same_load() -> None:
    assert presence().heartbeat() == Heartbeat(running=2, waiting=1, kv_usage=0.3333, draining=False)
    assert presence().link_line() == LinkLine("load", 2, 1, 0.3333, draining=False)


def test_worker_drains_when_it_stops_and_when_an_operator_drained_it() -> None:
    for reason in ("stopping", "drained_by_operator"):
        one = presence()
        one.change(**{reason: True})
        assert one.heartbeat().draining is True
        assert one.link_line().draining is True


async def test_change_wakes_a_waiter_at_once() -> None:
    one = presence()
    waiting = asyncio.create_task(one.changed(60))
    await asyncio.sleep(0)
    one.change(worker_id="wrk_1")
    async with asyncio.timeout(1):
        await waiting
    assert one.worker_id == "wrk_1"


async def test_waiter_without_a_change_returns_after_its_time() -> None:
    async with asyncio.timeout(1):
        await presence().changed(0.001)
