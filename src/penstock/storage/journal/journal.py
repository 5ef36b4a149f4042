"""The journal of one gateway process: slots while streams run, a record at the end, batches to the ledger beside the traffic."""

import asyncio
import fcntl
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import structlog
from msgspec.structs import replace

from penstock.base.moments import Moment
from penstock.domain.errors import PortUnavailable
from penstock.domain.ports import UsageIntake
from penstock.domain.usage import Outcome, UsageRecord
from penstock.storage.journal import segments, slots
from penstock.storage.journal.damage import Damage
from penstock.storage.journal.segments import Segments, UsageBatch
from penstock.storage.journal.slots import Slot, StreamSlots

_MOST_RECORDS_IN_MEMORY = 200_000
_RETRY_SECONDS = 1.0
_STALLED_SECONDS = 60.0
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
        self._fault = ""
        """Why the last try to move records to the ledger failed, unless the ledger was away."""
        self._moved_at = 0.0
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
        self.refused = 0
        """Records that the ledger did not take, for another reason than being away. Their file stays, for the next start."""
        self._damage = Damage()
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
        cut = {record.request_id: record for record in self._streams_of(directory)}
        for batch in reversed(self._waiting):
            for record in self._readable(batch.path) if cut and batch.path else ():
                if record is not None:
                    cut.pop(record.request_id, None)
        self._segments.open(directory)
        for record in cut.values():
            self._segments.append(reprice(replace(record, outcome=Outcome.RECOVERED)))
        self._slots.open(directory)
        return len(cut)

    def _streams_of(self, directory: Path) -> Iterator[UsageRecord]:
        for path in slots.files(directory):
            try:
                content = path.read_bytes()
            except OSError as error:
                self._damage.set_aside(path, 1, str(error))
                continue
            records, lost, reason = slots.left_behind(path, content)
            if reason:
                self._damage.keep_copy(path, content, lost, reason)
            yield from records

    @staticmethod
    def _readable(path: Path) -> Iterator[UsageRecord | None]:
        """What cannot be read is set aside later, when it is on its way to the ledger."""
        with suppress(OSError):
            yield from segments.read(path)

    def start(self) -> None:
        """Begin to move records to the ledger; needs a running loop."""
        loop = asyncio.get_running_loop()
        self._moved_at = loop.time()
        self._task = loop.create_task(self._drain())

    async def close(self) -> None:
        """Move the rest to the ledger when it can be reached; otherwise the files keep it for the next start."""
        # Asked, not cancelled: a batch that is being written gets to its end.
        self._stopping.set()
        self._enough.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if self._lock is None:
            return  # it was never opened
        await self._try_flush()
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
        """The disk takes no more."""
        return self._segments.failing

    @property
    def damaged(self) -> int:
        """Records of an earlier process that could not be read."""
        return self._damage.records

    def status(self) -> tuple[int, int, int]:
        """For the metrics: records that could not be read, records that the ledger refused, and the backlog."""
        return self.damaged, self.refused, self.backlog

    def stalled(self) -> str:
        """Why records do not move to the ledger although it may be there; empty when they do."""
        task = self._task
        if task is None or self._stopping.is_set():
            return ""
        if task.done():
            return "the task that moves them has ended"
        if not self._fault and asyncio.get_running_loop().time() - self._moved_at > _STALLED_SECONDS:
            return f"nothing moved for more than {_STALLED_SECONDS:.0f} seconds"
        return self._fault

    # the ledger's side

    async def _drain(self) -> None:
        while not self._stopping.is_set():
            self._enough.clear()
            with suppress(TimeoutError):
                if await self._try_flush():
                    await asyncio.wait_for(self._enough.wait(), self._flush_seconds)
                else:
                    await asyncio.wait_for(self._stopping.wait(), _RETRY_SECONDS)

    async def _try_flush(self) -> bool:
        """Flush; an error of our own is logged and tried again: it must not end the metering."""
        try:
            moved = await self.flush()
        except Exception as error:
            log.exception("journal_flush_failed", batches=len(self._waiting))
            self._fault = f"{type(error).__name__}: {error}"
            self.flushed.tell()
            return False
        self._fault = ""
        return moved

    async def flush(self) -> bool:
        """Move everything to the ledger; False when it could not be reached and the rest waits."""
        self._waiting.extend(self._segments.cut())
        self._forget_surplus()
        self._moved_at = asyncio.get_running_loop().time()
        async with self._flushing:
            while self._waiting:
                if not await self._hand_over(self._waiting[0]):
                    self.flushed.tell()
                    return False
                self._waiting.popleft()
                self._moved_at = asyncio.get_running_loop().time()
        self.flushed.tell()
        return True

    async def _hand_over(self, batch: UsageBatch) -> bool:
        """False: the ledger is away, so that it cannot be known whether it has the batch."""
        try:
            records, damaged = await batch.load()
        except OSError as error:
            self._set_aside(batch, 1, str(error))
            return True
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
            self.refused += len(records)
            batch.close_file()
            return True
        if damaged:
            self._set_aside(batch, damaged, "lines do not match their checksums")
        else:
            self._segments.discard(batch)
        return True

    def _set_aside(self, batch: UsageBatch, lost: int, reason: str) -> None:
        batch.close_file()
        if batch.path is not None:
            self._damage.set_aside(batch.path, lost, reason)

    def _forget_surplus(self) -> None:
        """While the ledger is away, memory holds the newest records only; the files hold all."""
        held = 0
        for batch in reversed(self._waiting):
            held += len(batch.records)
            if held > _MOST_RECORDS_IN_MEMORY and batch.path is not None:
                batch.records = []
