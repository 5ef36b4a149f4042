"""The journal of one gateway process: slots while streams run, a record at the end, batches to the ledger beside the traffic."""

import asyncio
import fcntl
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog
from msgspec.structs import replace

from penstock.base.moments import Moment
from penstock.domain.errors import PortUnavailable
from penstock.domain.ports import UsageIntake
from penstock.domain.usage import Outcome, UsageRecord
from penstock.storage.journal import segments, slots
from penstock.storage.journal.segments import Segments, UsageBatch
from penstock.storage.journal.slots import Slot, StreamSlots

_MOST_RECORDS_IN_MEMORY = 200_000
_RETRY_SECONDS = 1.0
_BATCH_RECORDS = 1_000
"""So many need not wait for more. A record is in memory several times on its way, and what was filled once is not given back."""
log = structlog.get_logger("penstock.journal")


class Journal:
    """Implements `domain.ports.UsageJournal`. One directory a process; what a dead process left is taken over at `open`."""

    def __init__(
        self, directory: Path, ledger: UsageIntake, slots_per_file: int, flush_seconds: float, segment_bytes: int = segments.SEGMENT_BYTES
    ) -> None:
        self._root = directory
        self._ledger = ledger
        self._flush_seconds = flush_seconds
        self._waiting: deque[UsageBatch] = deque()
        self._lock: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._enough = asyncio.Event()
        """There is a batch for the ledger, before its time."""
        self._flushing = asyncio.Lock()
        self._segments = Segments(segment_bytes, _BATCH_RECORDS, self._enough.set)
        self._slots = StreamSlots(slots_per_file)
        self.finish: Callable[[UsageRecord], None] = self._segments.append
        """Before the last bytes leave. The caller then clears its slot."""
        self.written = 0
        """Records that have reached the ledger since the start."""
        self.flushed = Moment()
        """A flush has ended, also one that could not reach the ledger."""

    # life

    def open(self, reprice: Callable[[UsageRecord], UsageRecord]) -> int:
        """Claim a directory and recover what its last owner left; returns the number of streams that were cut.

        The owner may have died at any point, this one included, so that: a stream whose record is in a file already is not cut; a file
        goes to the ledger under its own name, which the ledger knows if it has it; slots are cleared when their records are in a file.
        """
        directory = self._claim()
        self._waiting.extend(segments.left_behind(directory))
        cut = {record.request_id: record for record in slots.left_behind(directory)}
        for batch in reversed(self._waiting):
            for record in segments.read(batch.path) if cut and batch.path else ():
                cut.pop(record.request_id, None)
        self._segments.open(directory)
        for record in cut.values():
            self._segments.append(reprice(replace(record, outcome=Outcome.RECOVERED)))
        self._slots.open(directory)
        return len(cut)

    def start(self) -> None:
        """Begin to move records to the ledger; needs a running loop."""
        self._task = asyncio.get_running_loop().create_task(self._drain())

    async def close(self) -> None:
        """Move the rest to the ledger when it can be reached; otherwise the files keep it for the next start."""
        # Asked, not cancelled: a batch that is being written gets to its end.
        self._stopping.set()
        self._enough.set()
        if self._task is not None:
            await self._task
        if self._lock is None:
            return  # it was never opened
        await self.flush()
        self._segments.close()
        self._slots.close()
        os.close(self._lock)
        self._lock = None

    def _claim(self) -> Path:
        """The first directory that no living process owns: gateways that share a data directory each get one."""
        for number in range(1000):
            directory = self._root / str(number)
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                continue
            self._lock = descriptor
            return directory
        raise OSError(f"no free journal directory under {self._root}")

    # the data plane's side

    def begin(self, record: UsageRecord) -> Slot | None:
        """A slot for a stream that starts now; None when the disk has no room for another (the end is recorded all the same)."""
        try:
            slot = self._slots.take()
        except OSError as error:
            log.warning("journal_has_no_slot", reason=str(error))
            return None
        slot.fill(record)
        return slot

    @property
    def backlog(self) -> int:
        """Batches that the ledger has not taken yet."""
        return len(self._waiting)

    @property
    def failing(self) -> bool:
        return self._segments.failing

    # the ledger's side

    async def _drain(self) -> None:
        while not self._stopping.is_set():
            self._enough.clear()
            with suppress(TimeoutError):
                if await self.flush():
                    await asyncio.wait_for(self._enough.wait(), self._flush_seconds)
                else:
                    await asyncio.wait_for(self._stopping.wait(), _RETRY_SECONDS)

    async def flush(self) -> bool:
        """Move everything to the ledger; False when it could not be reached and the rest waits."""
        self._waiting.extend(self._segments.cut())
        self._forget_surplus()
        async with self._flushing:
            while self._waiting:
                if not await self._hand_over(self._waiting[0]):
                    self.flushed.tell()
                    return False
                self._waiting.popleft()
        self.flushed.tell()
        return True

    async def _hand_over(self, batch: UsageBatch) -> bool:
        """False: the ledger is away, so that it cannot be known whether it has the batch."""
        records = await batch.load()
        try:
            if records and await self._ledger.append(batch.id, records):
                self.written += len(records)
        except PortUnavailable as error:
            log.warning("ledger_unreachable", reason=str(error), batches=len(self._waiting))
            for each in self._waiting:
                each.close_file()
            return False
        except Exception:
            # What the ledger refuses must not hold up what comes after it. The file stays, for the next start.
            log.exception("ledger_refused_batch", batch=batch.id, records=len(records))
            batch.close_file()
            return True
        self._segments.discard(batch)
        return True

    def _forget_surplus(self) -> None:
        """While the ledger is away, memory holds the newest records only; the files hold all."""
        held = 0
        for batch in reversed(self._waiting):
            held += len(batch.records)
            if held > _MOST_RECORDS_IN_MEMORY and batch.path is not None:
                batch.records = []
