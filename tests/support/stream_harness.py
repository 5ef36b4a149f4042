"""A gateway in memory for bridges, and what belongs to a bridge on the memory broker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from penstock.domain.durable.streams import StreamMessage
from penstock.domain.durable.tasks import TaskStatus
from penstock.processes.streams.brokers.memory import MemoryBroker
from penstock.processes.streams.dead_letters import DeadLetters
from penstock.processes.streams.gateway_client import FinishedPage, FinishedTask, SubmissionRejected, SubmittedTask, TaskResult
from penstock.processes.streams.intake import Intake, IntakeLimits
from penstock.processes.streams.records import TaskTemplate
from penstock.processes.streams.retrier import Retrier

NOW = 1_700_000_000.0
PAGE = 100


@dataclass
class MemoryTaskApi:
    """Implements gateway.TaskApi: tasks by idempotency key, taken or refused as a whole."""

    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: dict[str, FinishedTask] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    now: float = NOW
    trouble: Callable[[list[dict[str, Any]]], Exception | None] = lambda _tasks: None
    """Asked before a submission is taken, and after it, for an answer that does not arrive."""
    after: Callable[[list[dict[str, Any]]], Exception | None] = lambda _tasks: None
    submissions: list[int] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)

    async def submit(self, tasks: Sequence[msgspec.Raw]) -> list[SubmittedTask]:
        given: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(list(tasks)))
        self.submissions.append(len(given))
        if (error := self.trouble(given)) is not None:
            raise error
        for task in given:
            there = self.tasks.get(task["idempotency_key"])
            if there is not None and there != task:
                raise SubmissionRejected("idempotency_conflict", "There is another task of that key.")
        made = []
        for task in given:
            key = task["idempotency_key"]
            made.append(SubmittedTask(f"task_{key}", created=key not in self.tasks))
            self.tasks[key] = task
        if (error := self.after(given)) is not None:
            raise error
        return made

    async def finished_tasks(self, tag: str, since: float, limit: int, after: str | None) -> tuple[FinishedPage, float]:
        self.looks.append(since)
        found = sorted(
            (task for task in self.ended.values() if (task.finished_at or 0) >= since), key=lambda task: (task.finished_at, task.id)
        )
        start = int(after or 0)
        end = start + PAGE
        return FinishedPage(found[start:end], str(end) if end < len(found) else None), self.now

    async def results(self, ids: Sequence[str]) -> list[TaskResult]:
        return [TaskResult(id_, self.ended[id_].status, msgspec.Raw(self.answers.get(id_, b"null"))) for id_ in ids if id_ in self.ended]

    def end(
        self, number: int, at: float, status: TaskStatus = TaskStatus.SUCCEEDED, attempt: int = 1, result: bytes = b"1"
    ) -> FinishedTask:
        id_ = f"task_{number}"
        key = f"stream:s:memory:in:{number}"
        task = self.ended[id_] = FinishedTask(id_, status, at, attempt, "function", "count", key)
        self.answers[id_] = result
        return task


TEMPLATE = TaskTemplate("s", {"kind": "function", "name": "count"})


def retrier() -> Retrier:
    return Retrier(Random(1), 0.001, 0.01)


@dataclass
class StreamHarness:
    """A source of records and everything that they can become."""

    task_api: MemoryTaskApi = field(default_factory=MemoryTaskApi)
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    template: TaskTemplate = TEMPLATE

    def put(self, *values: bytes) -> None:
        messages = [StreamMessage(f"m{n}", "k", value, (("colour", "red"),)) for n, value in enumerate(values)]
        self.broker.topic("in").messages += messages
        self.broker.topic("in").grown.set()

    def intake(self, limits: IntakeLimits | None = None, *, dead: bool = True) -> Intake:
        letters = DeadLetters(self.broker.sink("dead") if dead else None, retrier())
        source = self.broker.source("in", "s")
        return Intake(
            source, self.task_api, self.template, letters, retrier(), limits or IntakeLimits(workers=3, batch=10, drain_seconds=5)
        )

    @property
    def settled(self) -> set[int]:
        return self.broker.topic("in").acknowledged.get("s", set())

    @property
    def held(self) -> set[int]:
        return self.broker.topic("in").held.get("s", set())

    @property
    def dead(self) -> list[StreamMessage]:
        return self.broker.topic("dead").messages

    @property
    def payloads(self) -> list[Any]:
        return sorted(task["payload"] for task in self.task_api.tasks.values())
