"""Completions of a stream's tasks become messages, each at least once and under the same id.

They are found in the order of their completion, from where the last look ended. An end can become visible a little later than its time says
(its transaction took a while, clocks differ), so every few seconds the last minutes are looked at once more: what the log does not have
was not published.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from penstock.domain.durable.streams import StreamMessage
from penstock.domain.durable.tasks import TaskError
from penstock.domain.ports import StreamSink, StreamUnreachable
from penstock.processes.streams.gateway_client import FinishedTask, GatewayUnavailable, SubmissionRejected, TaskApi, TaskResult
from penstock.processes.streams.publication_log import PublicationLog
from penstock.processes.streams.retrier import Retrier

log = structlog.get_logger("penstock.streams")
_PAGE = 500
_NULL = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class PollTiming:
    poll_seconds: float = 1.0
    """Between two polls."""
    overlap_seconds: float = 60.0
    """How late a completion may become visible."""

    @property
    def rescan_seconds(self) -> float:
        """Between two polls of the whole overlap."""
        return self.overlap_seconds / 4


class PublishedOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is published."""

    task_id: str
    stream: str
    source: str | None
    """The record's place, as in its task's idempotency key; null for a task that came otherwise."""
    kind: str
    name: str
    status: str
    attempt: int
    finished_at: float | None
    error: TaskError | None
    result: msgspec.Raw
    result_left_out: bool = False
    """The broker does not take it: ask the gateway for the task."""


class ResultPublisher:
    """`run` until `stop`."""

    def __init__(
        self, sink: StreamSink, gateway: TaskApi, stream: str, publication_log: PublicationLog, retrier: Retrier, timing: PollTiming
    ) -> None:
        self._sink = sink
        self._gateway = gateway
        self._stream = stream
        self._tag = f"stream:{stream}"
        self._publication_log = publication_log
        self._retrier = retrier
        self._timing = timing
        self._stopping = asyncio.Event()
        self._last_rescan = float("-inf")
        self.published = 0

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Raises NotAllowed, StreamRefused, OSError (the log's disk)."""
        attempt = 0
        while not self._stopping.is_set():
            try:
                if attempt:
                    await self._sink.open()
                await self.poll()
                attempt = 0
            except (GatewayUnavailable, StreamUnreachable, SubmissionRejected) as error:
                attempt += 1
                await self._unless_stopped(self._retrier.wait("results", error, attempt))
            else:
                await self._unless_stopped(asyncio.sleep(self._timing.poll_seconds))

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait, but not longer than until `stop`: the gateway may ask for minutes."""
        tasks = [asyncio.create_task(waiting), asyncio.create_task(self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def poll(self) -> int:
        """Publish what has finished and was not published; how many that were.

        Raises GatewayUnavailable, SubmissionRejected, StreamUnreachable, OSError.
        """
        overlap = self._timing.overlap_seconds
        started = time.monotonic()
        rescan = started - self._last_rescan >= self._timing.rescan_seconds
        since = max(0.0, self._publication_log.position - overlap) if rescan else self._publication_log.position
        before = self.published
        after: str | None = None
        while True:
            page, now = await self._gateway.finished_tasks(self._tag, since, _PAGE, after)
            await self._publish([task for task in page.data if message_id(task) not in self._publication_log])
            after = page.after
            if after is None or self._stopping.is_set():
                break
        if rescan and after is None:
            self._last_rescan = started
            self._advance(now)
        return self.published - before

    def _advance(self, now: float) -> None:
        """Everything that ended an overlap ago has been seen, whether or not there was anything."""
        position, settled = self._publication_log.position, now - self._timing.overlap_seconds
        if now and position > now + self._timing.overlap_seconds:
            log.warning("clock_was_set_back", seconds=round(position - now))
            self._publication_log.append((), settled)
        elif settled > position + self._timing.overlap_seconds:
            self._publication_log.append((), settled)

    async def _publish(self, tasks: Sequence[FinishedTask]) -> None:
        if not tasks:
            return
        found = {result.id: result for result in await self._gateway.results([task.id for task in tasks])}
        # One that is asked for another run ends once more later, and one that was deleted has no result.
        ended = [task for task in tasks if task.id in found and found[task.id].status == task.status]
        messages = [self._message(task, found[task.id]) for task in ended]
        outcomes = await self._sink.publish(messages)
        small = [self._message(task, None) for task, problem in zip(ended, outcomes, strict=True) if problem is not None]
        if small and any(await self._sink.publish(small)):
            raise StreamUnreachable("the broker takes no message, however small")
        self._publication_log.append([(task.finished_at or 0.0, message_id(task)) for task in ended])
        self.published += len(ended)

    def _message(self, task: FinishedTask, result: TaskResult | None) -> StreamMessage:
        prefix = f"{self._tag}:"
        key = task.idempotency_key or ""
        outcome = PublishedOutcome(
            task_id=task.id,
            stream=self._stream,
            source=key.removeprefix(prefix) if key.startswith(prefix) else None,
            kind=task.kind,
            name=task.name,
            status=task.status.value,
            attempt=task.attempt,
            finished_at=task.finished_at,
            error=task.error,
            result=_NULL if result is None else result.result,
            result_left_out=result is None,
        )
        headers = (("penstock-task-id", task.id), ("penstock-status", task.status.value))
        return StreamMessage(message_id(task), task.id, msgspec.json.encode(outcome), headers)


def message_id(task: FinishedTask) -> str:
    """Of one end of a task; another run has another."""
    return f"{task.id}.{task.attempt}.{task.status.value}"
