"""Records become tasks: fetched in batches, submitted by several workers, settled only when the gateway has their tasks on disk."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import structlog

from penstock.domain.durable.streams import Record
from penstock.domain.ports import StreamSource, StreamUnreachable
from penstock.processes.streams.gateway import Rejected, Submitted, Tasks
from penstock.processes.streams.letters import Letter, Letters
from penstock.processes.streams.patience import Patience
from penstock.processes.streams.records import Template, Unusable

log = structlog.get_logger("penstock.streams")
_FETCH_SECONDS = 1.0
_HOLD_SECONDS = 4.0
_MOST_BODY_BYTES = 4_000_000
MOST_BYTES_IN_HAND = 64_000_000
"""Nothing more is fetched while the records in hand are larger, together."""
_KNOWN_ALREADY = "idempotency_conflict"


@dataclass(frozen=True, slots=True)
class Bounds:
    workers: int = 4
    """Submissions at the same time."""
    batch: int = 200
    """Records of one submission."""
    in_flight: int = 2_000
    """Records that are fetched and not settled."""
    drain_seconds: float = 30.0
    """To finish what is in hand after `stop`."""


@dataclass(slots=True)
class Counts:
    """Since the start."""

    taken: int = 0
    """Records that were handed to us, repetitions included."""
    created: int = 0
    """Tasks that were made."""
    repeated: int = 0
    """Records whose task was there already."""


Made = tuple[Record, msgspec.Raw]


class Intake:
    """`run` until `stop`; then what is in hand is finished, or given back when that takes too long."""

    def __init__(
        self, source: StreamSource, gateway: Tasks, template: Template, letters: Letters, patience: Patience, bounds: Bounds
    ) -> None:
        self._source = source
        self._gateway = gateway
        self._template = template
        self._letters = letters
        self._patience = patience
        self._bounds = bounds
        self._in_hand: dict[int, Record] = {}
        self._bytes_in_hand = 0
        self._room = asyncio.Event()
        self._batches: asyncio.Queue[list[Record] | None] = asyncio.Queue()
        self._stopping = asyncio.Event()
        self._deadline: asyncio.Timeout | None = None
        self.counts = Counts()

    @property
    def in_hand(self) -> int:
        return len(self._in_hand)

    def stop(self) -> None:
        """Again, or after its end, is no error."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._room.set()
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._bounds.drain_seconds)

    async def run(self) -> None:
        """Raises NotAllowed, NoDeadLetters, StreamRefused; whatever is not settled then will come again."""
        try:
            async with asyncio.timeout(None) as self._deadline, asyncio.TaskGroup() as group:
                keeper = group.create_task(self._hold())
                async with asyncio.TaskGroup() as inner:
                    inner.create_task(self._fetch())
                    for _ in range(self._bounds.workers):
                        inner.create_task(self._work())
                keeper.cancel()
        except TimeoutError:
            log.warning("drain_took_too_long", given_back=len(self._in_hand))
        except BaseExceptionGroup as group_error:
            raise first_of(group_error) from group_error
        finally:
            self._deadline = None
            await self._give_back()

    async def _fetch(self) -> None:
        bounds = self._bounds
        while not self._stopping.is_set():
            free = bounds.in_flight - len(self._in_hand)
            if free <= 0 or self._bytes_in_hand >= MOST_BYTES_IN_HAND:
                self._room.clear()
                await self._room.wait()
                continue
            limit = min(bounds.batch, free)
            records = await self._patience.until_done("source", lambda limit=limit: self._fetch_once(limit), self._source.open)  # type: ignore[misc]  # a default binds the loop's value
            if records:
                self._take(records)
                self._batches.put_nowait(records)
        for _ in range(bounds.workers):
            self._batches.put_nowait(None)

    async def _fetch_once(self, limit: int) -> list[Record]:
        """Nothing any more when it was told to stop meanwhile."""
        return [] if self._stopping.is_set() else await self._source.fetch(limit, _FETCH_SECONDS)

    async def _work(self) -> None:
        while (records := await self._batches.get()) is not None:
            await self._carry(records)

    async def _carry(self, records: Sequence[Record]) -> None:
        """Each of them is a task, or a dead letter, when this returns."""
        made: list[Made] = []
        refused: list[Letter] = []
        for record in records:
            try:
                made.append((record, self._template.task(record)))
            except Unusable as error:
                refused.append(Letter(record, error.code, str(error)))
        for portion in _portions(made):
            refused += await self._submit(portion)
        await self._letters.send(refused)
        await self._settle(records)

    async def _submit(self, made: Sequence[Made]) -> list[Letter]:
        """Those that the gateway will never take. A submission is refused as a whole, so it is halved until the guilty ones are alone."""
        try:
            submitted = await self._patience.until_done("gateway", lambda: self._gateway.submit([task for _, task in made]))
        except Rejected as error:
            if len(made) > 1:
                half = len(made) // 2
                return [*await self._submit(made[:half]), *await self._submit(made[half:])]
            record = made[0][0]
            if error.code != _KNOWN_ALREADY:
                return [Letter(record, error.code, str(error))]
            # The key is the record's own, so its task is there: made before the settings of this stream were changed.
            log.warning("task_was_made_with_other_settings", position=record.position)
            submitted = [Submitted("", created=False)]
        created = sum(each.created for each in submitted)
        self.counts.created += created
        self.counts.repeated += len(submitted) - created
        return []

    async def _settle(self, records: Sequence[Record]) -> None:
        try:
            await self._source.settle(records)
        except StreamUnreachable as error:
            log.warning("records_not_settled", count=len(records), reason=str(error))  # they come again, and their tasks are known
        for record in records:
            if self._in_hand.pop(id(record), None) is not None:
                self._bytes_in_hand -= record.size_bytes
        self._room.set()

    def _take(self, records: Sequence[Record]) -> None:
        self.counts.taken += len(records)
        for record in records:
            self._in_hand[id(record)] = record
            self._bytes_in_hand += record.size_bytes

    async def _hold(self) -> None:
        while True:
            await asyncio.sleep(_HOLD_SECONDS)
            try:
                await self._source.hold(list(self._in_hand.values()))
            except StreamUnreachable as error:
                log.info("records_not_held", reason=str(error))

    async def _give_back(self) -> None:
        records = list(self._in_hand.values())
        self._in_hand.clear()
        if records:
            try:
                await self._source.release(records)
            except StreamUnreachable as error:
                log.info("records_not_given_back", count=len(records), reason=str(error))


def _portions(made: Sequence[Made]) -> list[list[Made]]:
    """Of a size that a gateway takes at once."""
    portions: list[list[Made]] = []
    size = 0
    for each in made:
        length = len(bytes(each[1]))
        if not portions or size + length > _MOST_BODY_BYTES:
            portions.append([])
            size = 0
        portions[-1].append(each)
        size += length
    return portions


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error itself, however deep."""
    found = group.exceptions[0]
    return first_of(found) if isinstance(found, BaseExceptionGroup) else found
