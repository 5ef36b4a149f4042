"""A stream as a whole: open the broker's endpoints, carry records and results until `stop`, and close."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import time

import structlog

from penstock.domain.ports import StreamSink, StreamSource
from penstock.processes.streams.dead_letters import DeadLetters
from penstock.processes.streams.gateway_client import TaskApi
from penstock.processes.streams.intake import Intake, IntakeLimits, first_error
from penstock.processes.streams.metrics import StreamCounts
from penstock.processes.streams.publication_log import PublicationLog
from penstock.processes.streams.records import TaskTemplate
from penstock.processes.streams.result_publisher import PollTiming, ResultPublisher
from penstock.processes.streams.retrier import Retrier

log = structlog.get_logger("penstock.streams")
_LOG_SECONDS = 30.0
_PUBLISH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class BrokerEndpoints:
    """What a stream uses of a broker; at least a source or results."""

    source: StreamSource | None
    dead_letters: StreamSink | None
    results: StreamSink | None


class Bridge:
    """`run` until `stop`."""

    def __init__(
        self,
        endpoints: BrokerEndpoints,
        gateway: TaskApi,
        template: TaskTemplate,
        publication_log: PublicationLog,
        retrier: Retrier,
        limits: IntakeLimits,
        timing: PollTiming,
    ) -> None:
        self._endpoints = endpoints
        self._gateway = gateway
        self._template = template
        self._retrier = retrier
        self._drain_seconds = limits.drain_seconds
        self._dead_letters = DeadLetters(endpoints.dead_letters, retrier)
        self._intake = (
            None if endpoints.source is None else Intake(endpoints.source, gateway, template, self._dead_letters, retrier, limits)
        )
        self._results = (
            None
            if endpoints.results is None
            else ResultPublisher(endpoints.results, gateway, template.stream, publication_log, retrier, timing)
        )
        self._opening: asyncio.Task[None] | None = None
        self._stopping = False

    def stop(self) -> None:
        """May be called more than once, and before anything is open."""
        self._stopping = True
        if self._opening is not None:
            self._opening.cancel()
        for part in (self._intake, self._results):
            if part is not None:
                part.stop()

    def counts(self) -> StreamCounts:
        found: dict[str, float] = {"refusals": self._retrier.refusals}
        if self._intake is not None:
            counts = self._intake.counts
            found |= {"taken": counts.taken, "created": counts.created, "repeated": counts.repeated}
            found |= {"dead": self._dead_letters.sent, "in_hand": self._intake.unacknowledged}
        if self._results is not None:
            found["published"] = self._results.published
        return found

    async def run(self, ready: Callable[[], None]) -> None:
        """`ready` is called when broker and gateway have answered. Raises StreamRefused, NotAllowed, NoDeadLetters, OSError."""
        try:
            if await self._open_unless_stopped():
                ready()
                await self._run_parts()
        finally:
            log.info("stream_stopped", **self.counts())
            for endpoint in (self._endpoints.source, self._endpoints.dead_letters, self._endpoints.results):
                if endpoint is not None:
                    await endpoint.close()

    async def _open_unless_stopped(self) -> bool:
        """False when `stop` came first."""
        self._opening = asyncio.create_task(self._open())
        if self._stopping:
            self._opening.cancel()
        try:
            await self._opening
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            return False
        finally:
            self._opening = None
        return not self._stopping

    async def _open(self) -> None:
        """All at once: while one of them is waited for, another one may already fail for good."""
        endpoints = (
            ("source", self._endpoints.source),
            ("dead letters", self._endpoints.dead_letters),
            ("results", self._endpoints.results),
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._retrier.call("gateway", self._check_key))
                for what, endpoint in endpoints:
                    if endpoint is not None:
                        group.create_task(self._retrier.call(what, endpoint.open))
        except BaseExceptionGroup as error:
            raise first_error(error) from error

    async def _check_key(self) -> None:
        """A query that finds nothing: it is cheap, and fails when the key is not valid."""
        await self._gateway.finished_tasks(self._template.tag, time(), 1, None)

    async def _run_parts(self) -> None:
        """When one part cannot go on, the other one stops in order."""
        tasks = [asyncio.create_task(part.run()) for part in (self._intake, self._results) if part is not None]
        logger = asyncio.create_task(self._log_counts())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            # The intake keeps to its own time; what is being published may take as long.
            done, left = await asyncio.wait(tasks, timeout=self._drain_seconds + _PUBLISH_SECONDS)
            if left:
                log.warning("stream_stopped_late", parts=len(left))
        finally:
            logger.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in done:
            task.result()

    async def _log_counts(self) -> None:
        """Every 30 s, when something has changed."""
        logged: StreamCounts = {}
        while True:
            await asyncio.sleep(_LOG_SECONDS)
            if (counts := self.counts()) != logged:
                log.info("stream_progress", **counts)
                logged = counts
