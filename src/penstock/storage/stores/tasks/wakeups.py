"""Who waits for something to become ready, and the news of it."""

import asyncio
from collections.abc import Collection, Iterable, Mapping

from penstock.domain.durable.leases import CANCELLATIONS

_SOONEST_SECONDS = 0.02
"""Of a rate that allows more than fifty starts a second a waiting runner takes several at once."""
ANY = "*"
"""News of an unknown queue: every waiting claim looks."""


class Wakeups:
    """News are numbered, so that what comes between a claim that found nothing and the wait after it is not missed."""

    def __init__(self) -> None:
        self._number = 0
        self._last: dict[str, int] = {}
        self._waiting: dict[asyncio.Future[bool], frozenset[str]] = {}
        self._later: dict[str, asyncio.TimerHandle] = {}

    def ticket(self) -> int:
        return self._number

    def tell(self, queues: Iterable[str]) -> None:
        changed = set(queues)
        if not changed:
            return
        self._number += 1
        self._last |= dict.fromkeys(changed, self._number)
        for future, wanted in list(self._waiting.items()):
            if not future.done() and _concerns(wanted, changed):
                future.set_result(True)

    def tell_later(self, queues: Mapping[str, float]) -> None:
        """Each of the queues after so many seconds, or earlier if that was asked for already."""
        loop = asyncio.get_running_loop()
        for queue, seconds in queues.items():
            at, known = loop.time() + max(seconds, _SOONEST_SECONDS), self._later.get(queue)
            if known is not None:
                if known.when() <= at:
                    continue
                known.cancel()
            self._later[queue] = loop.call_at(at, self._tell_now, queue)

    def close(self) -> None:
        for timer in self._later.values():
            timer.cancel()
        self._later.clear()

    def _tell_now(self, queue: str) -> None:
        del self._later[queue]
        self.tell((queue,))

    async def wait(self, ticket: int, queues: Collection[str], timeout_seconds: float) -> bool:
        wanted = frozenset(queues)
        if _concerns(wanted, {queue for queue, number in self._last.items() if number > ticket}):
            return True
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[future] = wanted
        try:
            async with asyncio.timeout(timeout_seconds):
                return await future
        except TimeoutError:
            return False
        finally:
            del self._waiting[future]


def _concerns(wanted: frozenset[str], changed: set[str]) -> bool:
    return ANY in changed or bool(wanted & changed) or (not wanted and bool(changed - {CANCELLATIONS}))
