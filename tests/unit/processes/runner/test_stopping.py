"""A runner ends when it is told to, whatever its link makes of being cancelled."""

import asyncio
from collections.abc import Collection
from random import Random
from typing import Any

from penstock.domain.clock import SystemClock
from penstock.domain.durable.leases import HeartbeatReply, Lease
from penstock.domain.errors import PortUnavailable
from penstock.processes.runner.link import Link, RunnerInfo
from penstock.processes.runner.runner import Runner
from penstock.processes.runner.slots import SlotPlan


class Deaf:
    """A link that never has anything, and whose calls break when they are cancelled, as those of a lost connection do."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def now(self) -> float:
        return 0.0

    async def join(self, info: RunnerInfo) -> str:
        return "run_1"

    async def claim(self, limit: int, queues: Collection[str], kinds: Collection[str], wait_seconds: float) -> list[Lease]:
        self.asked.set()
        await self._broken()
        return []

    async def news(self, wait_seconds: float) -> bool:
        await self._broken()
        return False

    async def heartbeat(self, held: Any) -> HeartbeatReply:
        return HeartbeatReply(True, False, (), ())

    async def leave(self) -> None:
        raise PortUnavailable("the connection is lost")

    async def _broken(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise PortUnavailable("the connection was lost while the call was cancelled") from None


async def test_runner_stops_although_its_link_swallows_a_cancellation() -> None:
    deaf = Deaf()
    link: Link = deaf  # type: ignore[assignment] # the part of it that is asked here
    runner = Runner(link, {}, [SlotPlan((), (), 4, 0)], "deaf", "1", SystemClock(), Random(1))
    running = asyncio.create_task(runner.run())
    await deaf.asked.wait()
    runner.stop()
    async with asyncio.timeout(20):
        await running
