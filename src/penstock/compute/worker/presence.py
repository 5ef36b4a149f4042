"""What a worker says of itself: who it is, whether it takes work, and a signal when that changes."""

import asyncio
from collections.abc import Callable

from penstock.domain.workers import WorkerLoad
from penstock.wire.joining.workers import Heartbeat, LinkLine


class Presence:
    """Shared by the HTTP side (link, health) and the agent (heartbeats)."""

    def __init__(self, load: Callable[[], WorkerLoad]) -> None:
        self.worker_id = ""
        self.stopping = False
        """This process was told to end."""
        self.refusing = False
        """It has said so to its gateway: what still comes is sent elsewhere."""
        self.closed = False
        self.drained_by_operator = False
        self._load = load
        self._changed = asyncio.Event()

    @property
    def draining(self) -> bool:
        return self.stopping or self.drained_by_operator

    def heartbeat(self) -> Heartbeat:
        return Heartbeat.of(self._load(), draining=self.draining)

    def link_line(self) -> LinkLine:
        return LinkLine.of(self._load(), draining=self.draining)

    def change(self, **facts: str | bool) -> None:
        """Set facts by name and wake the tasks that wait for news."""
        for name, value in facts.items():
            setattr(self, name, value)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self, seconds: float) -> None:
        """Wait for a change, but not longer than this."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
