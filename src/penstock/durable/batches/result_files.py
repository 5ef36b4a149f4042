"""What the tasks of a batch left, as its two files. Every line of the input is in exactly one of them, exactly once."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from penstock.domain.durable.batches import Batch, BatchStatus, BatchUsage, LineCost, LineFault
from penstock.domain.durable.files import FileRecord, Purpose
from penstock.domain.durable.task_search import TaskFilter, TaskQuery
from penstock.domain.durable.tasks import Task, TaskStatus
from penstock.domain.errors import NotFound
from penstock.domain.ports import Files, NewFile, TaskStore
from penstock.durable.batches import input_file
from penstock.durable.batches.service import dag_id
from penstock.wire import batch_lines

_TASKS_AT_ONCE = 200
_LARGEST_BYTES = 1 << 40
"""Answers may be larger than the largest upload."""
_UNDONE = {BatchStatus.EXPIRED: batch_lines.UNDONE["expired"], BatchStatus.CANCELLED: batch_lines.UNDONE["cancelled"]}


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """The files, without records in the store as yet; None: it would be empty."""

    output: FileRecord | None
    errors: FileRecord | None
    completed: int
    failed: int
    usage: BatchUsage


class _LineCounts:
    def __init__(self) -> None:
        self.completed = self.failed = 0
        self.seen: set[str] = set()
        self._tokens = [0, 0, 0, 0]
        self._cost: dict[str, int] = {}

    def add(self, usage: BatchUsage, currency: str, micros: int) -> None:
        if micros:
            self._cost[currency] = self._cost.get(currency, 0) + micros
        for place, tokens in enumerate((usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens)):
            self._tokens[place] += tokens

    @property
    def usage(self) -> BatchUsage:
        read, cached, made, reasoned = self._tokens
        return BatchUsage(read, cached, made, reasoned, dict(sorted(self._cost.items())))


class ResultFiles:
    def __init__(self, tasks: TaskStore, files: Files, cost: LineCost) -> None:
        self._tasks = tasks
        self._files = files
        self._cost = cost

    async def write(self, batch: Batch, ending: BatchStatus) -> WrittenFiles:
        """Under the ids that the batch names: done again, it gives the same files again."""
        output = await self._files.begin(batch.org_id, batch.output_file_id, _LARGEST_BYTES)
        try:
            errors = await self._files.begin(batch.org_id, batch.error_file_id, _LARGEST_BYTES)
            try:
                counts = await self._lines(batch, ending, output, errors)
                kept = [await self._kept(batch, file, what) for file, what in ((output, "output"), (errors, "error"))]
            finally:
                await errors.discard()
        finally:
            await output.discard()
        return WrittenFiles(kept[0], kept[1], counts.completed, counts.failed, counts.usage)

    async def _kept(self, batch: Batch, file: NewFile, what: str) -> FileRecord | None:
        if not file.size_bytes:
            return None
        await file.seal()
        return self._files.record(file, batch.org_id, f"{batch.id}_{what}.jsonl", Purpose.BATCH_OUTPUT, batch.output_expires_seconds)

    async def _lines(self, batch: Batch, ending: BatchStatus, output: NewFile, errors: NewFile) -> _LineCounts:
        counts = _LineCounts()
        undone = _UNDONE.get(ending)
        async for page in self._pages(batch):
            done, broken = [], []
            for task in page:
                counts.seen.add(task.name)
                answer = batch_lines.outcome(task.result)
                if task.status is TaskStatus.SUCCEEDED and answer is not None:
                    counts.completed += 1
                    used = batch_lines.used(answer)
                    counts.add(used, *self._cost(batch_lines.model_of(task.payload), used))
                    done.append(batch_lines.answer_line(_line_id(task), task.name, answer))
                elif task.status is TaskStatus.FAILED and answer is not None:
                    broken.append(batch_lines.answer_line(_line_id(task), task.name, answer))
                else:
                    broken.append(batch_lines.error_line(_line_id(task), task.name, *_reason(task, undone)))
            counts.failed += len(broken)
            await _append(output, done)
            await _append(errors, broken)
        if undone is not None and len(counts.seen) < batch.total:
            await self._write_unstarted(batch, undone, counts, errors)
        return counts

    async def _pages(self, batch: Batch) -> AsyncIterator[tuple[Task, ...]]:
        after: str | None = None
        while True:
            query = TaskQuery(TaskFilter(dag_id=dag_id(batch)), ascending=True, limit=_TASKS_AT_ONCE, after=after, bodies=True)
            page = await self._tasks.tasks(batch.org_id, query)
            yield page.tasks
            if page.next is None:
                return
            after = page.next

    async def _write_unstarted(self, batch: Batch, undone: tuple[str, str], counts: _LineCounts, errors: NewFile) -> None:
        """Lines that never became tasks, because the batch was over before its file had been read."""
        try:
            file = await self._files.file(batch.org_id, batch.input_file_id)
        except NotFound:
            return
        async for number, line in input_file.requests(self._files.content(file), batch.endpoint):
            if not isinstance(line, LineFault) and line.custom_id not in counts.seen:
                counts.failed += 1
                await errors.write(batch_lines.error_line(f"batch_req_{batch.id.removeprefix('batch_')}_{number}", line.custom_id, *undone))


def _line_id(task: Task) -> str:
    return f"batch_req_{task.id.removeprefix('task_')}"


def _reason(task: Task, undone: tuple[str, str] | None) -> tuple[str, str]:
    """Why a line has no answer, as a code and a sentence. `undone`: what is said of those that the end of the batch came too early for."""
    if task.error is not None and task.error.code == "expired":
        return batch_lines.UNDONE["expired"]
    if undone is not None and task.status is TaskStatus.CANCELLED:
        return undone
    return ("cancelled", "This request was cancelled.") if task.error is None else (task.error.code, task.error.message)


async def _append(file: NewFile, lines: list[bytes]) -> None:
    if lines:
        await file.write(b"".join(lines))
