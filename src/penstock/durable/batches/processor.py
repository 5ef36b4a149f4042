"""Batches on their way, beside the traffic: each gateway takes the open ones that no other gateway has, and moves each on.

A step may be done twice and nothing happens twice: lines are tasks with an idempotency key each, files have their ids before they are
written, and a batch moves on only from the status that it was seen in. So a gateway may be killed anywhere.
"""

import asyncio
from dataclasses import replace
from functools import partial

import structlog

from penstock.domain.clock import Clock
from penstock.domain.durable.batches import Batch, BatchStatus, LineCost, LineFault
from penstock.domain.durable.task_search import TaskFilter, TaskQuery
from penstock.domain.durable.tasks import TERMINAL, NewTask, TaskStatus
from penstock.domain.errors import Conflict, NotFound, PortUnavailable, StorageFull
from penstock.domain.ids import TaskIds
from penstock.domain.ports import BatchStore, Files, TaskStore
from penstock.durable.batches import input_file
from penstock.durable.batches.result_files import ResultFiles
from penstock.durable.batches.service import dag_id
from penstock.wire import batch_lines
from penstock.wire.batch_lines import RequestLine

log = structlog.get_logger("penstock.batches")
CLAIM_SECONDS = 15.0
MOST_AT_ONCE = 16
"""Batches that one gateway moves on at the same time."""
LINES_AT_ONCE = 500
QUEUE = "low"
_KEPT_SECONDS = 3 * 24 * 3600.0
"""Tasks outlive their batch by a while, so that they can be looked at."""
_TASKS_PER_CHECK_SECOND = 20_000
"""Counting the tasks of a large batch is not free: it is done the less often the more there are."""
_UNFINISHED = frozenset(TaskStatus) - TERMINAL


class BatchProcessor:
    """`step` once a second. `owner`: this process, by a name that no other has."""

    def __init__(self, store: BatchStore, tasks: TaskStore, files: Files, clock: Clock, owner: str, cost: LineCost) -> None:
        self._store = store
        self._tasks = tasks
        self._files = files
        self._clock = clock
        self._owner = owner
        self._ids = TaskIds()
        self._results = ResultFiles(tasks, files, cost)
        self._working: dict[str, asyncio.Task[None]] = {}
        self._next_check: dict[str, float] = {}

    async def step(self) -> None:
        """Take what is free and move it on; none waits for another."""
        now = self._clock.time()
        for batch in await self._store.claim(self._owner, now, now + CLAIM_SECONDS, MOST_AT_ONCE):
            if batch.id not in self._working:
                task = asyncio.create_task(self._advance(batch), name=f"batch {batch.id}")
                self._working[batch.id] = task
                task.add_done_callback(partial(self._forget, batch.id))

    async def wait_until_idle(self) -> None:
        """Wait for the steps under way: for tests, and for callers that take one step at a time."""
        await asyncio.gather(*self._working.values())

    async def close(self) -> None:
        for task in list(self._working.values()):
            task.cancel()
        await asyncio.gather(*self._working.values(), return_exceptions=True)

    def _forget(self, batch_id: str, _: "asyncio.Task[None]") -> None:
        self._working.pop(batch_id, None)

    async def _advance(self, batch: Batch) -> None:
        try:
            match batch.status:
                case BatchStatus.VALIDATING:
                    await self._validate(batch)
                case BatchStatus.IN_PROGRESS:
                    await self._run(batch)
                case BatchStatus.FINALIZING:
                    await self._finish(batch, BatchStatus.COMPLETED)
                case BatchStatus.CANCELLING:
                    await self._stop(batch, BatchStatus.CANCELLED)
        except (PortUnavailable, StorageFull) as error:
            log.info("batch_postponed", batch=batch.id, reason=str(error))
        except Exception:
            log.exception("batch_failed", batch=batch.id)

    # one step for each status

    async def _validate(self, batch: Batch) -> None:
        try:
            file = await self._files.file(batch.org_id, batch.input_file_id)
            report = await input_file.validate(self._files.content(file), batch.endpoint)
        except NotFound:
            await self._fail(batch, (_INPUT_DELETED,))
            return
        now = self._clock.time()
        if report.faults:
            await self._fail(replace(batch, total=report.total), report.faults)
            return
        started = replace(batch, status=BatchStatus.IN_PROGRESS, in_progress_at=now, total=report.total, model=report.model)
        if await self._store.change(started, BatchStatus.VALIDATING):
            log.info("batch_started", batch=batch.id, organisation=batch.org_id, lines=report.total)
            await self._run(started)

    async def _fail(self, batch: Batch, faults: tuple[LineFault, ...]) -> None:
        failed = replace(batch, status=BatchStatus.FAILED, failed_at=self._clock.time(), faults=faults)
        await self._store.change(failed, batch.status)

    async def _run(self, batch: Batch) -> None:
        if self._clock.monotonic() < self._next_check.get(batch.id, 0.0):
            return
        if self._clock.time() >= batch.expires_at:
            await self._stop(batch, BatchStatus.EXPIRED)
            return
        counts = await self._tasks.dag_counts(batch.org_id, dag_id(batch))
        if sum(counts.values()) < batch.total:
            if not await self._enqueue(batch):
                return
            counts = await self._tasks.dag_counts(batch.org_id, dag_id(batch))
        seen = _counted(batch, counts)
        if seen.completed + seen.failed < seen.total:
            self._next_check[batch.id] = self._clock.monotonic() + seen.total / _TASKS_PER_CHECK_SECOND
            if seen != batch:
                await self._store.change(seen, BatchStatus.IN_PROGRESS)
            return
        ended = replace(
            seen,
            status=BatchStatus.FINALIZING,
            finalizing_at=self._clock.time(),
            output_file_id=self._files.new_file_id(),
            error_file_id=self._files.new_file_id(),
        )
        if await self._store.change(ended, BatchStatus.IN_PROGRESS):
            await self._finish(ended, BatchStatus.COMPLETED)

    async def _stop(self, batch: Batch, ending: BatchStatus) -> None:
        """Cancel what is not over; when nothing runs any more, write the files."""
        await self._cancel_tasks(batch)
        counts = await self._tasks.dag_counts(batch.org_id, dag_id(batch))
        if any(counts.get(status) for status in _UNFINISHED):
            return
        named = batch
        if batch.output_file_id is None or batch.error_file_id is None:
            named = replace(batch, output_file_id=self._files.new_file_id(), error_file_id=self._files.new_file_id())
            if not await self._store.change(named, batch.status):
                return
        await self._finish(named, ending)

    async def _finish(self, batch: Batch, ending: BatchStatus) -> None:
        """Write both files and say that they are there: one transaction, from the status that the batch was seen in."""
        self._next_check.pop(batch.id, None)
        written = await self._results.write(batch, ending)
        now = self._clock.time()
        moment = {BatchStatus.COMPLETED: "completed_at", BatchStatus.EXPIRED: "expired_at", BatchStatus.CANCELLED: "cancelled_at"}[ending]
        finished = replace(
            batch,
            status=ending,
            completed=written.completed,
            failed=written.failed,
            usage=written.usage,
            output_file_id=None if written.output is None else written.output.id,
            error_file_id=None if written.errors is None else written.errors.id,
            **{moment: now},  # type: ignore[arg-type] # the three are times
        )
        files = [record for record in (written.output, written.errors) if record is not None]
        if await self._store.change(finished, batch.status, files):
            log.info("batch_finished", batch=batch.id, status=ending.value, completed=finished.completed, failed=finished.failed)

    # lines as tasks

    async def _enqueue(self, batch: Batch) -> bool:
        """All lines, in portions; False when the batch is not to go on. Lines that are tasks already stay what they are."""
        try:
            file = await self._files.file(batch.org_id, batch.input_file_id)
        except NotFound:
            await self._cancel_tasks(batch)
            await self._fail(batch, (_INPUT_DELETED,))
            return False
        portion: list[tuple[int, RequestLine]] = []
        async for number, line in input_file.requests(self._files.content(file), batch.endpoint):
            assert not isinstance(line, LineFault)
            portion.append((number, line))
            if len(portion) == LINES_AT_ONCE:
                if not await self._is_in_progress(batch):
                    return False
                await self._submit(batch, portion)
                portion = []
        await self._submit(batch, portion)
        return True

    async def _submit(self, batch: Batch, portion: list[tuple[int, RequestLine]]) -> None:
        if not portion:
            return
        for last_try in (False, True):
            try:
                await self._tasks.enqueue([self._task(batch, number, line) for number, line in portion])
                return
            except Conflict:
                if last_try:
                    raise
                self._ids = TaskIds()  # another process drew the same bits

    def _task(self, batch: Batch, number: int, line: RequestLine) -> NewTask:
        return NewTask(
            id=self._ids.next(self._clock.time()),
            org_id=batch.org_id,
            key_id=batch.key_id,
            queue=QUEUE,
            kind="inference",
            name=line.custom_id,
            payload=batch_lines.task_payload(line),
            idempotency_key=f"{batch.id}:{number}",
            dag_id=dag_id(batch),
            expires_at=batch.expires_at,
            keep_seconds=_KEPT_SECONDS,
        )

    async def _is_in_progress(self, batch: Batch) -> bool:
        """It has not been cancelled meanwhile: a large file takes a while."""
        found = await self._store.get(batch.org_id, batch.id)
        return found is not None and found.status is BatchStatus.IN_PROGRESS

    async def _cancel_tasks(self, batch: Batch) -> None:
        wanted = TaskFilter(dag_id=dag_id(batch), statuses=_UNFINISHED)
        after: str | None = None
        while True:
            page = await self._tasks.tasks(batch.org_id, TaskQuery(wanted, ascending=True, limit=LINES_AT_ONCE, after=after))
            if page.tasks:
                await self._tasks.cancel(batch.org_id, [task.id for task in page.tasks])
            if page.next is None:
                return
            after = page.next


_INPUT_DELETED = LineFault("input_file_gone", "The input file has been deleted.", None, "input_file_id")


def _counted(batch: Batch, counts: dict[TaskStatus, int]) -> Batch:
    completed = counts.get(TaskStatus.SUCCEEDED, 0)
    over = sum(counts.get(status, 0) for status in TERMINAL)
    return replace(batch, completed=completed, failed=over - completed)
