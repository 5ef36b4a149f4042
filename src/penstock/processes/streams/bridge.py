"""The whole of it: open a broker's ends as soon as it is there, carry records and results until told to stop, and close."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import time

import structlog

from penstock.domain.ports import StreamSink, StreamSource
from penstock.processes.streams.gateway import Tasks
from penstock.processes.streams.intake import Bounds, Intake, first_of
from penstock.processes.streams.ledger import Ledger
from penstock.processes.streams.letters import Letters
from penstock.processes.streams.metrics import Numbers
from penstock.processes.streams.patience import Patience
from penstock.processes.streams.records import Template
from penstock.processes.streams.results import Pace, Results

log = structlog.get_logger("penstock.streams")
_TELL_SECONDS = 30.0
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Ends:
    """What is there of a broker; at least a source or results."""

    source: StreamSource | None
    dead_letters: StreamSink | None
    results: StreamSink | None


class Bridge:
    """`run` until `stop`."""

    def __init__(
        self, ends: Ends, gateway: Tasks, template: Template, ledger: Ledger, patience: Patience, bounds: Bounds, pace: Pace
    ) -> None:
        self._ends = ends
        self._gateway = gateway
        self._template = template
        self._patience = patience
        self._drain_seconds = bounds.drain_seconds
        self._letters = Letters(ends.dead_letters, patience)
        self._intake = None if ends.source is None else Intake(ends.source, gateway, template, self._letters, patience, bounds)
        self._results = None if ends.results is None else Results(ends.results, gateway, template.stream, ledger, patience, pace)
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

    def numbers(self) -> Numbers:
        found: dict[str, float] = {"refusals": self._patience.refusals}
        if self._intake is not None:
            counts = self._intake.counts
            found |= {"taken": counts.taken, "created": counts.created, "repeated": counts.repeated}
            found |= {"dead": self._letters.sent, "in_hand": self._intake.in_hand}
        if self._results is not None:
            found["published"] = self._results.published
        return found

    async def run(self, ready: Callable[[], None]) -> None:
        """`ready` is called when broker and gateway have answered. Raises StreamRefused, NotAllowed, NoDeadLetters, OSError."""
        try:
            if await self._opened():
                ready()
                await self._carry()
        finally:
            log.info("stream_ends", **self.numbers())
            for end in (self._ends.source, self._ends.dead_letters, self._ends.results):
                if end is not None:
                    await end.close()

    async def _opened(self) -> bool:
        """False when it was told to stop before."""
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
        """Side by side: who waits for one of them shall still hear that another one will never do."""
        ends = (("source", self._ends.source), ("dead letters", self._ends.dead_letters), ("results", self._ends.results))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._patience.until_done("gateway", self._look))
                for what, end in ends:
                    if end is not None:
                        group.create_task(self._patience.until_done(what, end.open))
        except BaseExceptionGroup as error:
            raise first_of(error) from error

    async def _look(self) -> None:
        """At what has not ended yet: it costs nothing, and says whether the key is good."""
        await self._gateway.over(self._template.tag, time(), 1, None)

    async def _carry(self) -> None:
        """When one part cannot go on, the other one stops in order."""
        tasks = [asyncio.create_task(part.run()) for part in (self._intake, self._results) if part is not None]
        teller = asyncio.create_task(self._tell())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            # The intake keeps to its own time; what is being published may take as long.
            done, left = await asyncio.wait(tasks, timeout=self._drain_seconds + _PATIENCE_SECONDS)
            if left:
                log.warning("stream_did_not_end", parts=len(left))
        finally:
            teller.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in done:
            task.result()

    async def _tell(self) -> None:
        """Now and then, when there is something new."""
        told: Numbers = {}
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            if (numbers := self.numbers()) != told:
                log.info("stream_progress", **numbers)
                told = numbers
