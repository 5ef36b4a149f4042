"""Completions on their way to the store: many in one call, and again until it is known that they arrived."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random

import structlog

from penstock.domain.durable.leases import AttemptOutput, LeaseCompletion, ProgressReport
from penstock.domain.durable.tasks import TaskStatus
from penstock.domain.errors import PortUnavailable
from penstock.processes.runner.link import Link

log = structlog.get_logger("penstock.runner")
MOST_AT_ONCE = 1_000
_MOST_BYTES = 4_000_000
_LONGEST_PAUSE_SECONDS = 2.0
_PROGRESS_SECONDS = 0.25
_GATHER_SECONDS = 0.025
_OVERHEAD_BYTES = 200
_REFUSALS = 3
"""A batch that is refused so often is not sent again as it is."""
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
        self._output: dict[tuple[str, int], AttemptOutput] = {}
        self._progress_reported = asyncio.Event()
        self.stale = 0
        """Completions that came too late."""

    def __len__(self) -> int:
        return len(self._waiting) + self._sending

    def put(self, completion: LeaseCompletion) -> None:
        self._waiting.append(completion)
        self._progress.pop((completion.task_id, completion.lease_seq), None)
        self._output.pop((completion.task_id, completion.lease_seq), None)
        self._empty.clear()
        self._has_waiting.set()
        if len(self._waiting) >= MOST_AT_ONCE:
            self._enough.set()

    def report(self, task_id: str, lease_seq: int, progress: str) -> None:
        self._progress[task_id, lease_seq] = progress
        self._progress_reported.set()

    def report_output(self, task_id: str, lease_seq: int, output: AttemptOutput) -> None:
        self._output[task_id, lease_seq] = output
        self._progress_reported.set()

    def forget(self) -> None:
        """The gateway has given up this runner: what is left would be refused."""
        self._waiting.clear()
        self._progress.clear()
        self._output.clear()

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
            reports = self._next_reports()
            try:
                await self._link.progress(reports)
            except PortUnavailable as error:
                log.info("progress_not_reported", reason=str(error))
            except Exception as error:  # one report that is not taken must not end the runner
                log.warning("progress_refused", count=len(reports), reason=f"{type(error).__name__}: {error}"[:500])
            await asyncio.sleep(_PROGRESS_SECONDS)

    def _next_reports(self) -> list[ProgressReport]:
        """As many as one call should carry."""
        reports, size = [], 0
        for key in list({**self._progress, **self._output}):
            if size > _MOST_BYTES:
                self._progress_reported.set()
                break
            progress, output = self._progress.pop(key, ""), self._output.pop(key, None)
            reports.append(ProgressReport(*key, progress, output))
            size += len(progress) + (0 if output is None else len(output.text)) + _OVERHEAD_BYTES
        return reports

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
            size += _bytes_of(completion)
            if count and size > _MOST_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._sending = len(batch)
        return batch

    async def _deliver(self, batch: Sequence[LeaseCompletion]) -> None:
        """A batch that is refused is sent in halves, so that one end does not take others with it; refused alone, an end is bare."""
        statuses = await self._finish(batch)
        if statuses is None and len(batch) > 1:
            half = len(batch) // 2
            await self._deliver(batch[:half])
            await self._deliver(batch[half:])
        elif statuses is None and not batch[0].is_bare:
            await self._deliver([batch[0].bare()])
        elif statuses is None:
            # It stays among the held leases: when the task's time is up, the store ends it, and the attempt counts.
            log.error("completion_undeliverable", task=batch[0].task_id, lease=batch[0].lease_seq)
        else:
            self._acknowledge(batch, statuses)

    async def _finish(self, batch: Sequence[LeaseCompletion]) -> list[TaskStatus | None] | None:
        """None: refused, several times."""
        pause, refused = 0.05, 0
        while True:
            try:
                return await self._link.finish(batch)
            except PortUnavailable as error:
                log.info("completions_not_delivered_yet", count=len(batch), reason=str(error))
            except Exception as error:
                refused += 1
                log.warning("completions_refused", count=len(batch), reason=f"{type(error).__name__}: {error}"[:500])
                if refused == _REFUSALS:
                    return None
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _acknowledge(self, batch: Sequence[LeaseCompletion], statuses: Sequence[TaskStatus | None]) -> None:
        for completion, status in zip(batch, statuses, strict=True):
            if status is None:
                self.stale += 1
                log.warning("completion_too_late", task=completion.task_id, lease=completion.lease_seq, kind=completion.kind.value)
            self._acknowledged(completion.task_id, completion.lease_seq)


def _bytes_of(completion: LeaseCompletion) -> int:
    """About, on the wire."""
    output = 0 if completion.output is None else len(completion.output.text)
    return len(completion.result or "") + output + _OVERHEAD_BYTES
