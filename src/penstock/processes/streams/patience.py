"""Waiting for what comes back: with full jitter, and for as long as the other side asks."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

import structlog

from penstock.domain.ports import StreamUnreachable
from penstock.durable.tasks.backoff import Backoff
from penstock.processes.streams.gateway import Busy

T = TypeVar("T")
log = structlog.get_logger("penstock.streams")
_SAY_AGAIN_AFTER = 10
LONGEST_WISH_SECONDS = 300.0
"""A `Retry-After` beyond that is not believed."""


class Patience:
    """`first_seconds` and `longest_seconds` bound the rests while nobody says how long to wait."""

    def __init__(self, random: Random, first_seconds: float = 0.2, longest_seconds: float = 15.0) -> None:
        self._random = random
        self._backoff = Backoff(first_seconds, longest_seconds)
        self.refusals = 0
        """How often somebody was not there, or had no time."""

    async def until_done(self, what: str, call: Callable[[], Awaitable[T]], mend: Callable[[], Awaitable[None]] | None = None) -> T:
        """Again and again; `mend` before each further try. Lets every error pass but Busy and StreamUnreachable."""
        attempt = 0
        while True:
            try:
                if attempt and mend is not None:
                    await mend()
                return await call()
            except (Busy, StreamUnreachable) as error:
                attempt += 1
                await self.rest(what, error, attempt)

    async def rest(self, what: str, error: Exception, attempt: int) -> None:
        """After the failed try of that number, from 1."""
        self.refusals += 1
        seconds = self._backoff.seconds(attempt, self._random)
        wish = error.retry_after_seconds if isinstance(error, Busy) else None
        if wish is not None:
            # Never before the time that was asked for, and not all at the same moment after it.
            seconds = min(wish, LONGEST_WISH_SECONDS) + self._random.uniform(0.0, 0.5)
        if attempt == 1 or attempt % _SAY_AGAIN_AFTER == 0:
            log.warning("stream_waits", what=what, reason=str(error), attempt=attempt, seconds=round(seconds, 2))
        await asyncio.sleep(seconds)
