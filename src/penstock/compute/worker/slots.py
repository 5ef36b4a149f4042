"""How many requests run at the same time; a few more wait their turn, the rest is refused so that the gateway asks elsewhere."""

import asyncio
from collections import deque

from penstock.domain.errors import Overloaded


class WorkerSlots:
    """First come, first served. Every `acquire` that returns is followed by one `release`."""

    def __init__(self, limit: int, queue_limit: int) -> None:
        self.limit = limit
        self.queue_limit = queue_limit
        self.running = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        return sum(not turn.done() for turn in self._queue)

    async def acquire(self) -> None:
        """Returns when a slot is ours. Raises Overloaded when too many wait already."""
        if self.running < self.limit:
            self.running += 1
            self._idle.clear()
            return
        if self.waiting >= self.queue_limit:
            raise Overloaded("The worker is busy. Please try again.", retry_after_seconds=1.0)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # the slot was handed over while its taker left
            raise

    def release(self) -> None:
        """Hand the slot to the caller that has waited longest, or free it."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1
        if not self.running:
            self._idle.set()

    async def until_idle(self) -> None:
        """Returns when nothing runs (and so nothing waits)."""
        await self._idle.wait()
