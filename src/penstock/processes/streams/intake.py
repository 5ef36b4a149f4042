"""Records become tasks: fetched in batches, submitted by several workers, acknowledged only when the gateway has their tasks on disk."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import structlog

from penstock.base.moments import Moment
from penstock.domain.durable.streams import StreamRecord
from penstock.domain.ports import StreamSource, StreamUnreachable
from penstock.processes.streams.dead_letters import DeadLetter, DeadLetters
from penstock.processes.streams.gateway_client import SubmissionRejected, SubmittedTask, TaskApi
from penstock.processes.streams.records import InvalidRecord, TaskTemplate
from penstock.processes.streams.retrier import Retrier

log = structlog.get_logger("penstock.streams")
_FETCH_SECONDS = 1.0
_HOLD_SECONDS = 4.0
_MOST_BODY_BYTES = 4_000_000
MAX_UNACKNOWLEDGED_BYTES = 64_000_000
"""Nothing more is fetched while the records in hand are larger, together."""
_IDEMPOTENCY_CONFLICT = "idempotency_conflict"


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    workers: int = 4
    """Submissions at the same time."""
    batch: int = 200
    """Records of one submission."""
    in_flight: int = 2_000
    """Records that are fetched and not acknowledged."""
    drain_seconds: float = 30.0
    """To finish what is in hand after `stop`."""


@dataclass(slots=True)
class IntakeCounts:
    """Since the start."""

    taken: int = 0
    """Records that were handed to us, repetitions included."""
    created: int = 0
    """Tasks that were made."""
    repeated: int = 0
    """Records whose task was there already."""


RecordTask = tuple[StreamRecord, msgspec.Raw]


class Intake:
    """`run` until `stop`; then what is in hand is finished, or given back when that takes too long."""

    def __init__(
        self, source: StreamSource, gateway: TaskApi, template: TaskTemplate, letters: DeadLetters, retrier: Retrier, limits: IntakeLimits
    ) -> None:
        self._source = source
        self._gateway = gateway
        self._template = template
        self._dead_letters = letters
        self._retrier = retrier
        self._limits = limits
        self._unacknowledged: dict[int, StreamRecord] = {}
        self._unacknowledged_bytes = 0
        self._has_capacity = asyncio.Event()
        self._batches: asyncio.Queue[list[StreamRecord] | None] = asyncio.Queue()
        self._stopping = asyncio.Event()
        self._deadline: asyncio.Timeout | None = None
        self.counts = IntakeCounts()
        self.progressed = Moment()
        """Records have been taken from the stream, or acknowledged."""

    @property
    def unacknowledged(self) -> int:
        return len(self._unacknowledged)

    def stop(self) -> None:
        """Again, or after its end, is not an error."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._has_capacity.set()
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._limits.drain_seconds)

    async def run(self) -> None:
        """Raises NotAllowed, NoDeadLetters, StreamRefused; what is not acknowledged then will come again."""
        try:
            async with asyncio.timeout(None) as self._deadline, asyncio.TaskGroup() as group:
                keeper = group.create_task(self._keep_held())
                async with asyncio.TaskGroup() as inner:
                    inner.create_task(self._fetch())
                    for _ in range(self._limits.workers):
                        inner.create_task(self._work())
                keeper.cancel()
        except TimeoutError:
            log.warning("drain_took_too_long", released=len(self._unacknowledged))
        except BaseExceptionGroup as group_error:
            raise first_error(group_error) from group_error
        finally:
            self._deadline = None
            await self._release()

    async def _fetch(self) -> None:
        limits = self._limits
        while not self._stopping.is_set():
            free = limits.in_flight - len(self._unacknowledged)
            if free <= 0 or self._unacknowledged_bytes >= MAX_UNACKNOWLEDGED_BYTES:
                self._has_capacity.clear()
                await self._has_capacity.wait()
                continue
            limit = min(limits.batch, free)
            records = await self._retrier.call("source", lambda limit=limit: self._fetch_once(limit), self._source.open)  # type: ignore[misc]  # a default binds the loop's value
            if records:
                self._take(records)
                self._batches.put_nowait(records)
        for _ in range(limits.workers):
            self._batches.put_nowait(None)

    async def _fetch_once(self, limit: int) -> list[StreamRecord]:
        """Nothing any more when it was told to stop meanwhile."""
        return [] if self._stopping.is_set() else await self._source.fetch(limit, _FETCH_SECONDS)

    async def _work(self) -> None:
        while (records := await self._batches.get()) is not None:
            await self._process(records)

    async def _process(self, records: Sequence[StreamRecord]) -> None:
        """Each of them is a task, or a dead letter, when this returns."""
        made: list[RecordTask] = []
        refused: list[DeadLetter] = []
        for record in records:
            try:
                made.append((record, self._template.task(record)))
            except InvalidRecord as error:
                refused.append(DeadLetter(record, error.code, str(error)))
        for portion in _portions(made):
            refused += await self._submit(portion)
        await self._dead_letters.send(refused)
        await self._acknowledge(records)

    async def _submit(self, made: Sequence[RecordTask]) -> list[DeadLetter]:
        """Those that the gateway will never take. A submission is refused as a whole, so it is halved until the bad ones are alone."""
        try:
            submitted = await self._retrier.call("gateway", lambda: self._gateway.submit([task for _, task in made]))
        except SubmissionRejected as error:
            if len(made) > 1:
                half = len(made) // 2
                return [*await self._submit(made[:half]), *await self._submit(made[half:])]
            record = made[0][0]
            if error.code != _IDEMPOTENCY_CONFLICT:
                return [DeadLetter(record, error.code, str(error))]
            # The key is the record's own, so its task is there: made before the settings of this stream were changed.
            log.warning("task_was_made_with_other_settings", position=record.position)
            submitted = [SubmittedTask("", created=False)]
        created = sum(each.created for each in submitted)
        self.counts.created += created
        self.counts.repeated += len(submitted) - created
        return []

    async def _acknowledge(self, records: Sequence[StreamRecord]) -> None:
        try:
            await self._source.acknowledge(records)
        except StreamUnreachable as error:
            log.warning("records_not_acknowledged", count=len(records), reason=str(error))  # they come again, and their tasks are known
        for record in records:
            if self._unacknowledged.pop(id(record), None) is not None:
                self._unacknowledged_bytes -= record.size_bytes
        self._has_capacity.set()
        self.progressed.tell()

    def _take(self, records: Sequence[StreamRecord]) -> None:
        self.counts.taken += len(records)
        for record in records:
            self._unacknowledged[id(record)] = record
            self._unacknowledged_bytes += record.size_bytes
        self.progressed.tell()

    async def _keep_held(self) -> None:
        while True:
            await asyncio.sleep(_HOLD_SECONDS)
            try:
                await self._source.hold(list(self._unacknowledged.values()))
            except StreamUnreachable as error:
                log.info("records_not_held", reason=str(error))

    async def _release(self) -> None:
        records = list(self._unacknowledged.values())
        self._unacknowledged.clear()
        if records:
            try:
                await self._source.release(records)
            except StreamUnreachable as error:
                log.info("records_not_released", count=len(records), reason=str(error))


def _portions(made: Sequence[RecordTask]) -> list[list[RecordTask]]:
    """Of a size that a gateway takes at once."""
    portions: list[list[RecordTask]] = []
    size = 0
    for each in made:
        length = len(bytes(each[1]))
        if not portions or size + length > _MOST_BODY_BYTES:
            portions.append([])
            size = 0
        portions[-1].append(each)
        size += length
    return portions


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error itself, however deep."""
    found = group.exceptions[0]
    return first_error(found) if isinstance(found, BaseExceptionGroup) else found
