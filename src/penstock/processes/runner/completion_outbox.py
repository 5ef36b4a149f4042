"""Completions on their way to the store: many in one call, and again until it is known that they arrived."""

import asyncio
from collections.abc import Callable
from random import Random

import structlog

from penstock.domain.durable.leases import LeaseCompletion, ProgressReport
from penstock.domain.errors import PortUnavailable
from penstock.processes.runner.link import Link

log = structlog.get_logger("penstock.runner")
MOST_AT_ONCE = 1_000
_MOST_BYTES = 4_000_000
_LONGEST_PAUSE_SECONDS = 2.0
_PROGRESS_SECONDS = 0.25
_GATHER_SECONDS = 0.025
_BUSY_BATCH = 4
"""After a call with so many completions, the next call waits a little for more of them."""


class CompletionOutbox:
    """While one batch is on its way the next one gathers: under load the batches grow by themselves, and are given a moment to grow.

    A call costs about as much as twenty completions. So a runner that ends many tasks at a time waits for a moment longer than the call
    itself takes; a single completion is sent at once.
    """

    def __init__(self, link: Link, acknowledged: Callable[[str, int], None], random: Random) -> None:
        """`acknowledged` is called with each lease whose completion the store has taken or refused."""
        self._link = link
        self._acknowledged = acknowledged
        self._random = random
        self._waiting: list[LeaseCompletion] = []
        self._sending = 0
        self._has_waiting = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._enough = asyncio.Event()
        self._closing = False
        self._progress: dict[tuple[str, int], str] = {}
        self._progress_reported = asyncio.Event()
        self.stale = 0
        """Completions that came too late."""

    def __len__(self) -> int:
        return len(self._waiting) + self._sending

    def put(self, completion: LeaseCompletion) -> None:
        self._waiting.append(completion)
        self._progress.pop((completion.task_id, completion.lease_seq), None)
        self._empty.clear()
        self._has_waiting.set()
        if len(self._waiting) >= MOST_AT_ONCE:
            self._enough.set()

    def report(self, task_id: str, lease_seq: int, progress: str) -> None:
        self._progress[task_id, lease_seq] = progress
        self._progress_reported.set()

    def forget(self) -> None:
        """The gateway has given up this runner: what is left would be refused."""
        self._waiting.clear()
        self._progress.clear()

    async def flush(self) -> None:
        """Send what is left without waiting for more."""
        self._closing = True
        self._enough.set()
        await self._empty.wait()

    async def send(self) -> None:
        """Until cancelled."""
        while True:
            await self._has_waiting.wait()
            batch = self._next_batch()
            if batch:
                await self._deliver(batch)
            if len(batch) >= _BUSY_BATCH and not self._closing:
                await self._gather()
            self._sending = 0
            if not self._waiting:
                self._has_waiting.clear()
                self._empty.set()

    async def send_progress(self) -> None:
        """Until cancelled. A report that does not arrive is followed by another one, so nothing is tried again."""
        while True:
            await self._progress_reported.wait()
            self._progress_reported.clear()
            reports = [ProgressReport(task_id, lease_seq, value) for (task_id, lease_seq), value in self._progress.items()]
            self._progress.clear()
            try:
                await self._link.progress(reports)
            except PortUnavailable as error:
                log.info("progress_not_reported", reason=str(error))
            await asyncio.sleep(_PROGRESS_SECONDS)

    async def _gather(self) -> None:
        """Cut short when there is enough for a call, or when nothing more will come."""
        self._enough.clear()
        if len(self._waiting) < MOST_AT_ONCE:
            try:
                async with asyncio.timeout(_GATHER_SECONDS):
                    await self._enough.wait()
            except TimeoutError:
                pass

    def _next_batch(self) -> list[LeaseCompletion]:
        size, count = 0, 0
        for completion in self._waiting[:MOST_AT_ONCE]:
            size += len(completion.result or "") + 200
            if count and size > _MOST_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._sending = len(batch)
        return batch

    async def _deliver(self, batch: list[LeaseCompletion]) -> None:
        pause = 0.05
        while True:
            try:
                statuses = await self._link.finish(batch)
                break
            except PortUnavailable as error:
                log.info("completions_not_delivered_yet", count=len(batch), reason=str(error))
                await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            except Exception:  # their leases end by themselves; what comes after them must not wait for that
                log.exception("completions_undeliverable", count=len(batch))
                statuses = [None] * len(batch)
                break
        for completion, status in zip(batch, statuses, strict=True):
            if status is None:
                self.stale += 1
                log.warning("completion_too_late", task=completion.task_id, lease=completion.lease_seq, kind=completion.kind.value)
            self._acknowledged(completion.task_id, completion.lease_seq)
