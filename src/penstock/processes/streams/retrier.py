"""Calls that are repeated until the other side is there again: with full jitter, and after the time that it asks for."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

import structlog

from penstock.domain.ports import StreamUnreachable
from penstock.durable.tasks.backoff import Backoff
from penstock.processes.streams.gateway_client import GatewayUnavailable

T = TypeVar("T")
log = structlog.get_logger("penstock.streams")
_LOG_EVERY_ATTEMPTS = 10
MAX_RETRY_AFTER_SECONDS = 300.0
"""A longer `Retry-After` is cut to this."""


class Retrier:
    """`first_seconds` and `longest_seconds` bound the delays where the other side does not ask for one."""

    def __init__(self, random: Random, first_seconds: float = 0.2, longest_seconds: float = 15.0) -> None:
        self._random = random
        self._backoff = Backoff(first_seconds, longest_seconds)
        self.refusals = 0
        """How often a call was repeated."""

    async def call(self, what: str, call: Callable[[], Awaitable[T]], reconnect: Callable[[], Awaitable[None]] | None = None) -> T:
        """Until it succeeds; `reconnect` before each further try. Lets every error pass but GatewayUnavailable and StreamUnreachable."""
        attempt = 0
        while True:
            try:
                if attempt and reconnect is not None:
                    await reconnect()
                return await call()
            except (GatewayUnavailable, StreamUnreachable) as error:
                attempt += 1
                await self.wait(what, error, attempt)

    async def wait(self, what: str, error: Exception, attempt: int) -> None:
        """After the failed try of that number, from 1."""
        self.refusals += 1
        seconds = self._backoff.seconds(attempt, self._random)
        asked = error.retry_after_seconds if isinstance(error, GatewayUnavailable) else None
        if asked is not None:
            # Never before the time that was asked for, and not all at the same moment after it.
            seconds = min(asked, MAX_RETRY_AFTER_SECONDS) + self._random.uniform(0.0, 0.5)
        if attempt == 1 or attempt % _LOG_EVERY_ATTEMPTS == 0:
            log.warning("stream_waits", what=what, reason=str(error), attempt=attempt, seconds=round(seconds, 2))
        await asyncio.sleep(seconds)
