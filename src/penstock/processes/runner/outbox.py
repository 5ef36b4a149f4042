"""The ends of tasks on their way to the store: many in one call, and again until it is known that they arrived."""

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
_MANY = 4
"""Ends in one call, from which on the next call waits a little for more of them."""


class Outbox:
    """While one batch is on its way the next one gathers: under load the batches grow by themselves, and are given a moment to grow.

    A call costs about as much as twenty ends do. So whoever ends many tasks at a time waits for a moment longer than the call itself
    takes; a single end is told at once.
    """

    def __init__(self, link: Link, acknowledged: Callable[[str, int], None], random: Random) -> None:
        """`acknowledged` hears of each lease whose end the store knows, or does not want to know."""
        self._link = link
        self._acknowledged = acknowledged
        self._random = random
        self._waiting: list[LeaseCompletion] = []
        self._on_its_way = 0
        self._news = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._enough = asyncio.Event()
        self._closing = False
        self._progress: dict[tuple[str, int], str] = {}
        self._told = asyncio.Event()
        self.stale = 0
        """Ends that came too late."""

    def __len__(self) -> int:
        return len(self._waiting) + self._on_its_way

    def put(self, finish: LeaseCompletion) -> None:
        self._waiting.append(finish)
        self._progress.pop((finish.task_id, finish.lease_seq), None)
        self._empty.clear()
        self._news.set()
        if len(self._waiting) >= MOST_AT_ONCE:
            self._enough.set()

    def report(self, task_id: str, lease_seq: int, progress: str) -> None:
        self._progress[task_id, lease_seq] = progress
        self._told.set()

    def forget(self) -> None:
        """The runner was given up: nobody wants to know any more."""
        self._waiting.clear()
        self._progress.clear()

    async def emptied(self) -> None:
        """Tells what is left without waiting for more."""
        self._closing = True
        self._enough.set()
        await self._empty.wait()

    async def send(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            batch = self._next_batch()
            if batch:
                await self._delivered(batch)
            if len(batch) >= _MANY and not self._closing:
                await self._moment()
            self._on_its_way = 0
            if not self._waiting:
                self._news.clear()
                self._empty.set()

    async def send_progress(self) -> None:
        """Until cancelled. A report that does not arrive is followed by another one, so nothing is tried again."""
        while True:
            await self._told.wait()
            self._told.clear()
            reports = [ProgressReport(task_id, lease_seq, value) for (task_id, lease_seq), value in self._progress.items()]
            self._progress.clear()
            try:
                await self._link.progress(reports)
            except PortUnavailable as error:
                log.info("progress_not_told", reason=str(error))
            await asyncio.sleep(_PROGRESS_SECONDS)

    async def _moment(self) -> None:
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
        for finish in self._waiting[:MOST_AT_ONCE]:
            size += len(finish.result or "") + 200
            if count and size > _MOST_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._on_its_way = len(batch)
        return batch

    async def _delivered(self, batch: list[LeaseCompletion]) -> None:
        pause = 0.05
        while True:
            try:
                outcomes = await self._link.finish(batch)
                break
            except PortUnavailable as error:
                log.info("ends_not_told_yet", count=len(batch), reason=str(error))
                await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            except Exception:  # their leases end by themselves; what comes after them must not wait for that
                log.exception("ends_cannot_be_told", count=len(batch))
                outcomes = [None] * len(batch)
                break
        for finish, outcome in zip(batch, outcomes, strict=True):
            if outcome is None:
                self.stale += 1
                log.warning("end_came_too_late", task=finish.task_id, lease=finish.lease_seq, end=finish.kind.value)
            self._acknowledged(finish.task_id, finish.lease_seq)
