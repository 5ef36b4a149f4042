"""Edits of policy reach this gateway: it asks the store's change feed, and forgets or reloads what was named."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from penstock.domain.clock import Clock
from penstock.domain.errors import PortUnavailable
from penstock.domain.ports import ChangeFeed
from penstock.serving.admission.keyring import KeyRing

log = structlog.get_logger("penstock.changes")


class ChangePoll:
    """Also how the gateway knows whether the store is there: `reachable`."""

    def __init__(
        self,
        feed: ChangeFeed,
        keys: KeyRing,
        clock: Clock,
        every_seconds: float,
        reload_models: Callable[[], Awaitable[None]],
        reload_workers: Callable[[], Awaitable[None]],
        reload_policy: Callable[[], Awaitable[None]],
    ) -> None:
        self._feed = feed
        self._keys = keys
        self._now = clock.monotonic
        self._every = every_seconds
        self._reload_models = reload_models
        self._reload_workers = reload_workers
        self._reload_policy = reload_policy
        self._version = 0
        self._task: asyncio.Task[None] | None = None
        self.reachable = True

    async def open(self) -> None:
        """Load everything once, then keep asking."""
        self._version = (await self._feed.since(0)).version
        await self._reload_policy()
        await self._reload_models()
        await self._reload_workers()
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
                self._note(reachable=False, reason=str(error))
            except Exception:
                log.exception("change_poll_failed")

    async def ask(self) -> None:
        """One round. Raises PortUnavailable; then the same changes are asked for again."""
        asked_at = self._now()
        changes = await self._feed.since(self._version)
        kinds = {kind for kind, _ in changes.subjects}
        if kinds & {"key", "organisation", "plan"}:
            self._keys.forget(changes.subjects)
        if "policy" in kinds:
            await self._reload_policy()
        if "model" in kinds:
            await self._reload_models()
        if "worker" in kinds:
            await self._reload_workers()
        self._version = changes.version
        self._keys.confirm(asked_at)
        self._note(reachable=True, reason="")

    def _note(self, *, reachable: bool, reason: str) -> None:
        if reachable != self.reachable:
            self.reachable = reachable
            if reachable:
                log.info("store_is_back")
            else:
                log.error("store_unreachable", reason=reason)
