"""`penstock up --chaos`: harms a worker now and then, one at a time, and says what the platform did about it.

A demonstration, and a tool for tests: with a seed the same harms come in the same order.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import httpx

from penstock.domain.clock import Clock
from penstock.serving.routing.worker_set import WorkerEvent

_LONGEST_RECOVERY_SECONDS = 60.0
_GOOD = frozenset({"ready", "returned"})


@dataclass(frozen=True, slots=True)
class Victim:
    """A worker process of this machine that serves now."""

    name: str
    pid: int
    base_url: str
    secret: str


class RequestCounts(NamedTuple):
    """What became of the requests since the start."""

    answered: int
    failed: int
    retried: int

    def since(self, before: "RequestCounts") -> str:
        answered, failed, retried = (now - then for now, then in zip(self, before, strict=True))
        return f"{answered} answered, {retried} retried on another worker, {failed} failed"


class Chaos:
    def __init__(
        self,
        victims: Callable[[], Sequence[Victim]],
        counts: Callable[[], RequestCounts],
        say: Callable[[str], None],
        random: Random,
        clock: Clock,
        every_seconds: float,
    ) -> None:
        self._victims = victims
        self._counts = counts
        self._say = say
        self._random = random
        self._now = clock.monotonic
        self._every = every_seconds
        self._harms: list[tuple[str, Callable[[Victim], Awaitable[None]]]] = [
            ("killed", self._kill),
            ("frozen", self._freeze),
            ("slowed", self._slow),
            ("made to send invalid answers", self._corrupt),
        ]
        self._struck_at = 0.0
        self._victim = ""
        self._well = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._random.expovariate(1 / self._every))
            if victims := sorted(self._victims(), key=lambda one: one.name):
                await self._strike(self._random.choice(victims), *self._random.choice(self._harms))

    def on_worker_event(self, event: WorkerEvent) -> None:
        """What happens to a worker, told with the time since the harm."""
        if event.name != self._victim:
            return
        self._say(f"chaos:   +{self._now() - self._struck_at:.3f} s  {event.name} is {event.what}")
        if event.what in _GOOD:
            self._well.set()
        else:
            self._well.clear()

    async def _strike(self, victim: Victim, what: str, harm: Callable[[Victim], Awaitable[None]]) -> None:
        before = self._counts()
        self._victim, self._struck_at = victim.name, self._now()
        self._well.set()
        self._say(f"chaos: {victim.name} is {what}")
        try:
            await harm(victim)
            await asyncio.wait_for(self._well.wait(), _LONGEST_RECOVERY_SECONDS)
        except (ProcessLookupError, httpx.HTTPError):
            self._say(f"chaos:   {victim.name} had already ended")
        except TimeoutError:
            self._say(f"chaos:   {victim.name} has not come back within {_LONGEST_RECOVERY_SECONDS:.0f} s")
        self._say(f"chaos:   ended after {self._now() - self._struck_at:.1f} s; requests: {self._counts().since(before)}")

    # harms: each returns when it is over

    async def _kill(self, victim: Victim) -> None:
        self._well.clear()  # until it has been started again
        os.kill(victim.pid, signal.SIGKILL)

    async def _freeze(self, victim: Victim) -> None:
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._random.uniform(0.2, 1.5) * self._every)
        finally:
            os.kill(victim.pid, signal.SIGCONT)

    async def _slow(self, victim: Victim) -> None:
        await self._set_fault(victim, kind="slow", count=1000, seconds=round(self._random.uniform(0.05, 0.5), 3))
        await asyncio.sleep(self._random.uniform(0.2, 1.0) * self._every)
        await self._set_fault(victim, kind="slow", count=0)

    async def _corrupt(self, victim: Victim) -> None:
        await self._set_fault(victim, kind="garbage", count=self._random.randint(1, 10), after_events=self._random.randint(0, 3))
        await asyncio.sleep(self._random.uniform(0.2, 1.0) * self._every)
        await self._set_fault(victim, kind="garbage", count=0)

    async def _set_fault(self, victim: Victim, **fault: object) -> None:
        async with httpx.AsyncClient(base_url=victim.base_url, trust_env=False) as client:
            headers = {"authorization": f"Bearer {victim.secret}"}
            (await client.post("/penstock/fault", json=fault, headers=headers)).raise_for_status()
