"""Edits reach this gateway: it asks the store's change feed, and tells each subscriber of a kind which subjects were edited."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from penstock.base.moments import Moment
from penstock.domain.clock import Clock
from penstock.domain.errors import PortUnavailable
from penstock.domain.ports import ChangeFeed

log = structlog.get_logger("penstock.changes")
EVERY_SUBJECT = frozenset({"*"})
"""What a reload is given when any subject of its kind may have been edited."""

Reload = Callable[[frozenset[str]], Awaitable[None]]
"""Gets the ids of what was edited, or `EVERY_SUBJECT`."""


class ChangePoll:
    """Also how the gateway knows whether the store is there: `reachable`."""

    def __init__(self, feed: ChangeFeed, clock: Clock, every_seconds: float, confirm: Callable[[float], None]) -> None:
        """`confirm` is told the monotonic time of each question, once everything that its answer named has been reloaded."""
        self._feed = feed
        self._now = clock.monotonic
        self._every = every_seconds
        self._confirm = confirm
        self._reloads: list[tuple[str, Reload]] = []
        self._version = 0
        self._task: asyncio.Task[None] | None = None
        self.reachable = True
        self.followed = Moment()
        """Everything that an answer named has been reloaded."""

    def subscribe(self, kind: str, reload: Reload) -> None:
        """Call `reload` once for every answer that names the kind (`Changes` lists them). Earlier subscriptions are called first.

        A reload that raises ends the round: later subscriptions wait, and all of it is asked for and called again.
        """
        self._reloads.append((kind, reload))

    async def open(self) -> None:
        """Load everything once, then keep asking. Raises PortUnavailable."""
        self._version = (await self._feed.since(0)).version
        for _, reload in self._reloads:
            await reload(EVERY_SUBJECT)
        self._task = asyncio.get_running_loop().create_task(self._keep_asking())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.ask()
            except PortUnavailable as error:
                self._set_reachable(False, reason=str(error))
            except Exception:
                log.exception("change_poll_failed")

    async def ask(self) -> None:
        """One round. Raises PortUnavailable; then the same changes are asked for again."""
        asked_at = self._now()
        changes = await self._feed.since(self._version)
        edited: dict[str, set[str]] = {}
        for kind, subject in changes.subjects:
            edited.setdefault(kind, set()).add(subject)
        for kind, reload in self._reloads:
            if subjects := edited.get(kind):
                await reload(EVERY_SUBJECT if "*" in subjects else frozenset(subjects))
        self._version = changes.version
        self._confirm(asked_at)
        self._set_reachable(True)
        self.followed.tell()

    def _set_reachable(self, reachable: bool, reason: str = "") -> None:
        if reachable != self.reachable:
            self.reachable = reachable
            if reachable:
                log.info("store_reachable")
            else:
                log.error("store_unreachable", reason=reason)
