"""Faults on demand, for tests of what calls a worker: the next requests are slow, hang, crash the process or answer rubbish."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Annotated, Literal

import msgspec
import structlog
from msgspec import Meta

from penstock.domain.ports.engine import Answer

CRASH_STATUS = 70
GARBAGE = b'\x00\xff\xfe<html>data: {"choices":[{"delta":\n\ndata: not json at all\n\n'
_FLUSH_SECONDS = 0.02


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`after_events`: how many events of a stream get through first; 0: it strikes before the first byte of the answer."""

    kind: Literal["slow", "crash", "hang", "garbage"]
    count: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    """How many requests; 0 takes back what is left."""
    after_events: Annotated[int, Meta(ge=0)] = 0
    seconds: Annotated[float, Meta(ge=0, le=3600)] = 1.0
    """`slow`: before the first byte and before every later event."""


class Faults:
    """The fault that is set, and for how many more requests."""

    def __init__(self, leave: Callable[[int], None] = os._exit) -> None:
        self._fault: Fault | None = None
        self._left = 0
        self._leave = leave

    def set(self, fault: Fault) -> None:
        self._fault, self._left = fault, fault.count

    def next(self) -> Fault | None:
        """The fault that strikes this request."""
        if self._fault is None or self._left == 0:
            return None
        self._left -= 1
        return self._fault

    async def strike(self, fault: Fault, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """An answer as the fault leaves it."""
        structlog.get_logger().warning("fault on demand", kind=fault.kind, after_events=fault.after_events)
        if fault.after_events == 0 and (broken := await self._before(fault)) is not None:
            return broken
        answer = await make()
        if isinstance(answer.body, bytes):
            return await self._before(fault) or answer
        return Answer(answer.status, answer.headers, self._during(fault, answer.body))

    async def _before(self, fault: Fault) -> Answer | None:
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        elif fault.kind == "garbage":
            return Answer(200, [(b"content-type", b"application/json")], GARBAGE)
        else:
            await self._stop(fault)
        return None

    async def _during(self, fault: Fault, body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        passed = 0
        try:
            async for chunk in body:
                for event in _events(chunk):
                    if fault.kind == "slow" and passed >= fault.after_events:
                        await asyncio.sleep(fault.seconds)
                    elif passed == fault.after_events:
                        if fault.kind == "garbage":
                            yield GARBAGE
                        await self._stop(fault)
                        return
                    yield event
                    passed += 1
        finally:
            await body.aclose()

    async def _stop(self, fault: Fault) -> None:
        if fault.kind == "crash":
            await asyncio.sleep(_FLUSH_SECONDS)  # what was let through shall be on the wire
            self._leave(CRASH_STATUS)
        elif fault.kind == "hang":
            await asyncio.Event().wait()


def _events(chunk: bytes) -> list[bytes]:
    """Single events of a piece of a stream, each with its blank line."""
    return [event + b"\n\n" for event in chunk.split(b"\n\n") if event]
