"""A batch at work without a gateway: the real store in memory, files in memory, and a runner whose every move the test makes."""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from penstock.domain.clock import ManualClock
from penstock.domain.durable.batches import Batch, BatchStatus, BatchUsage
from penstock.domain.durable.files import Purpose
from penstock.domain.durable.leases import Lease, LeaseCompletion, RunnerRecord
from penstock.domain.durable.tasks import CompletionKind, TaskError
from penstock.domain.ports import Store
from penstock.domain.principal import KeyActor, Organisation, Plan, Principal, Scope, ServiceClass, ServiceTier
from penstock.durable.batches.processor import BatchProcessor
from penstock.durable.batches.service import BatchService
from penstock.durable.files.service import FileService
from penstock.storage.blobs.memory import MemoryBlobs
from penstock.storage.stores import open_store

CHAT = "/v1/chat/completions"
PLAN = Plan("free", ServiceClass.FREE, ServiceTier.DEFAULT, tuple(ServiceTier), 1000, 1000, 1000)
CALLER = Principal("org_a", KeyActor("key_a"), PLAN, frozenset({Scope.INFERENCE}))
RUNNER = "run_1"
Json = dict[str, Any]


def line(custom_id: str, **fields: Any) -> Json:
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": {"model": "m", "messages": [custom_id]}, **fields}


def text(lines: Iterable[Json | bytes]) -> bytes:
    return b"\n".join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines)


def cost_of_line(model: str, used: BatchUsage) -> tuple[str, int]:
    """One micro-unit a token: of EUR for models whose name says so."""
    return "EUR" if model.startswith("eur") else "USD", used.input_tokens + used.output_tokens


@dataclass
class BatchHarness:
    store: Store
    files: FileService
    clock: ManualClock
    batches: BatchService
    works: dict[str, BatchProcessor] = field(default_factory=dict)

    async def uploaded(self, content: bytes) -> str:
        upload = await self.files.begin(CALLER.org_id)
        await upload.write(content)
        return (await upload.keep("lines.jsonl", Purpose.BATCH)).id

    async def started(self, *lines: Json | bytes, **fields: Any) -> Batch:
        values = {"endpoint": CHAT, "metadata": {}, "output_expires_seconds": None} | fields
        return await self.batches.create(CALLER, await self.uploaded(text(lines)), **values)

    async def step(self, owner: str = "gw_1") -> None:
        """What a gateway does each second; one that was never named before has just been started."""
        work = self.works.get(owner)
        if work is None:
            work = self.works[owner] = BatchProcessor(self.store.batches, self.store.tasks, self.files, self.clock, owner, cost_of_line)
        self.clock.advance(3.0)  # past the time for which it does not look again
        await work.step()
        await work.wait_until_idle()

    async def now(self, batch: Batch) -> Batch:
        return await self.batches.batch(batch.org_id, batch.id)

    async def moved_to(self, batch: Batch, status: BatchStatus, owner: str = "gw_1") -> Batch:
        for _ in range(10):
            if (found := await self.now(batch)).status is status:
                return found
            await self.step(owner)
        raise AssertionError(f"still {found.status}")

    async def claim(self, limit: int = 1000) -> list[Lease]:
        await self.store.tasks.register(RunnerRecord(RUNNER, "by hand", None, (), 1000))
        return await self.store.tasks.claim(RUNNER, limit)

    async def finish(self, *finishes: LeaseCompletion) -> None:
        await self.store.tasks.finish(RUNNER, finishes)

    async def answer_all(self, answer: Callable[[Lease], LeaseCompletion] | None = None, limit: int = 1000) -> int:
        leases = await self.claim(limit)
        await self.finish(*map(answer or well, leases))
        return len(leases)

    async def read(self, file_id: str | None) -> list[Json]:
        """A file of lines; none when there is no file."""
        if file_id is None:
            return []
        record = await self.files.file(CALLER.org_id, file_id)
        content = b"".join([piece async for piece in self.files.content(record)])
        return [json.loads(each) for each in content.splitlines()]


def well(lease: Lease) -> LeaseCompletion:
    body = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    return succeeded(lease, body)


def succeeded(lease: Lease, body: Any) -> LeaseCompletion:
    result = json.dumps({"status_code": 200, "request_id": f"req_{lease.name}", "body": body}, indent=1)
    return LeaseCompletion(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=CompletionKind.SUCCEEDED, result=result)


def refused(lease: Lease) -> LeaseCompletion:
    """As the kind `inference` ends a call that was refused for good."""
    result = json.dumps({"status_code": 400, "request_id": f"req_{lease.name}", "body": {"error": {"message": "No."}}})
    error = TaskError("invalid_request_error", "No.")
    return LeaseCompletion(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=CompletionKind.FAILED, result=result, error=error)


def broken(lease: Lease) -> LeaseCompletion:
    error = TaskError("unreachable", "No gateway.")
    return LeaseCompletion(task_id=lease.task_id, lease_seq=lease.lease_seq, kind=CompletionKind.FAILED, error=error)


@asynccontextmanager
async def batch_harness() -> AsyncIterator[BatchHarness]:
    clock = ManualClock()
    store = await open_store("sqlite://", clock=clock, migrate=True)
    try:
        await store.accounts.save_plan(PLAN)
        await store.accounts.create_organisation(Organisation("org_a", "a", "free", clock.time()))
        files = FileService(store.files, MemoryBlobs(), clock)
        yield BatchHarness(store, files, clock, BatchService(store.batches, files, clock))
    finally:
        await store.close()
