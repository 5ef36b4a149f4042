"""Named moments that a test can wait for, instead of asking again and again whether something has happened.

A component has a `Moment` as an attribute and calls `tell()` when the thing has happened. In production no one listens, and `tell`
returns at once. A test waits for the state that it wants, which is looked at after each of these moments only:

    await journal.flushed.until(lambda: journal.backlog == 0)

The idea is that of River's `TestSignal`.
"""

import asyncio
from collections.abc import Callable


class Moment:
    """One kind of thing that happens in a component. `tell` must be called in the event loop of those who wait."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def tell(self) -> None:
        """It has happened."""
        for event in self._waiting:
            event.set()

    async def until(self, condition: Callable[[], object], seconds: float = 5.0) -> None:
        """Return when the condition holds: now, or after one of these moments. Raises TimeoutError after `seconds`."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await event.wait()
                    event.clear()
        finally:
            self._waiting.discard(event)
