"""A pipeline with everything around it in memory: workers that answer when told, replies that remember, a clock that stands still."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from penstock.domain.call import Call
from penstock.domain.clock import ManualClock
from penstock.domain.errors import PenstockError
from penstock.domain.inference import Operation
from penstock.domain.outcome import RequestOutcome
from penstock.domain.ports import InflightRequest, ResponseSink, TransportFailure
from penstock.domain.principal import KeyActor, Plan, Principal, Scope, ServiceClass, ServiceTier
from penstock.domain.usage import UsageRecord
from penstock.domain.workers import WorkerRecord
from penstock.serving.pipeline import PipelineOptions, PipelineRules, Surroundings, assemble
from penstock.serving.routing.health import HealthRules
from penstock.serving.routing.worker_set import RoutingRules
from penstock.storage.state import memory
from tests.unit.serving.routing.members import worker

PLAN = Plan("enterprise", ServiceClass.ENTERPRISE, ServiceTier.DEFAULT, tuple(ServiceTier), 10**6, 10**9, 1000)


class SentRequest:
    """A request that reached a worker."""

    def __init__(self, worker_id: str, body: bytes, sink: ResponseSink) -> None:
        self.worker_id = worker_id
        self.body = body
        self.sink = sink
        self.cancelled = False
        self.paused = False

    def cancel(self) -> None:
        self.cancelled = True

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def answer(self, text: str = "well", status: int = 200) -> None:
        choices = [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]
        body = (
            {"choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 2}} if status == 200 else {"error": {"message": text}}
        )
        self.sink.head(status, [(b"content-type", b"application/json")])
        self.sink.data(json.dumps(body).encode())
        self.sink.end()

    def begin_stream(self) -> None:
        self.sink.head(200, [(b"content-type", b"text/event-stream"), (b"x-penstock-prompt-tokens", b"3")])

    def token(self, text: str = "t") -> None:
        self.sink.data(b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n")

    def end_stream(self) -> None:
        self.sink.data(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
        self.sink.end()

    def fail(self, kind: str = "reset") -> None:
        self.sink.failed(TransportFailure(kind, "told to"))


class MemoryTransport:
    def __init__(self) -> None:
        self.sent: list[SentRequest] = []
        self.at_once: Callable[[SentRequest], None] | None = None
        """What happens before `send` returns."""

    def send(self, worker: WorkerRecord, path: str, request_id: str, body: bytes, sink: ResponseSink) -> SentRequest:
        one = SentRequest(worker.id, body, sink)
        self.sent.append(one)
        if self.at_once is not None:
            self.at_once(one)
        return one

    def forget(self, worker_id: str) -> None: ...


class MemoryReply:
    """Checks that it is told in the right order."""

    def __init__(self) -> None:
        self.status = 0
        self.error: PenstockError | None = None
        self.data = b""
        self.over = False
        self.streaming = False

    def refuse(self, error: PenstockError, headers: bytes) -> None:
        self._ends(error.status)
        self.error = error

    def send(self, status: int, headers: bytes, body: bytes) -> None:
        self._ends(status)
        self.data = body

    def start(self, status: int, headers: bytes) -> None:
        assert not self.over
        assert not self.streaming
        self.status, self.streaming = status, True

    def write(self, data: bytes) -> None:
        assert self.streaming
        assert not self.over
        self.data += data

    def end(self) -> None:
        assert self.streaming
        assert not self.over
        self.over = True

    def _ends(self, status: int) -> None:
        assert not self.over
        assert not self.streaming
        self.status, self.over = status, True

    @property
    def terminal_events(self) -> int:
        return self.data.count(b"data: [DONE]") + self.data.count(b'data: {"error"')


class MemorySlot:
    def __init__(self, journal: "MemoryJournal", record: UsageRecord) -> None:
        self._journal = journal
        self.record = record
        self.completion = record.completion_tokens

    def update(self, prompt: int, completion: int, cached: int = 0, reasoning: int = 0, estimated: bool = False) -> None:
        self.completion = completion

    def clear(self) -> None:
        self._journal.slots.remove(self)


class MemoryJournal:
    def __init__(self) -> None:
        self.slots: list[MemorySlot] = []
        self.records: list[UsageRecord] = []

    def begin(self, record: UsageRecord) -> MemorySlot:
        slot = MemorySlot(self, record)
        self.slots.append(slot)
        return slot

    def finish(self, record: UsageRecord) -> None:
        self.records.append(record)


@dataclass
class OutcomeRecorder:
    outcomes: list[RequestOutcome] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def record_outcome(self, outcome: RequestOutcome) -> None:
        self.outcomes.append(outcome)

    def record_refusal(self, code: str) -> None:
        self.refusals.append(code)


class PipelineBench:
    """Workers by name and slots, and what goes through."""

    def __init__(self, _reserve: float = 0.0, rules: PipelineRules | None = None, **slots: int) -> None:
        self.clock = ManualClock()
        self.transport = MemoryTransport()
        self.journal = MemoryJournal()
        self.observed = OutcomeRecorder()
        health = HealthRules(eject_after=1000)
        routing = RoutingRules(health, priority_reserve=_reserve, overflow_reserve=_reserve)
        around = Surroundings(
            transport=self.transport,
            journal=self.journal,
            observer=self.observed,
            quotas=memory.MEMBER(self.clock),
            clock=self.clock,
            random=Random(1),
        )
        self.pipeline, self.deps = assemble(around, PipelineOptions(rules or PipelineRules(), routing))
        self.workers = self.deps.workers
        self.principal = Principal("org", KeyActor("key"), PLAN, frozenset({Scope.INFERENCE}))
        self._number = 0
        for name, count in slots.items():
            self.join(name, count)

    def join(self, name: str, slots: int, pool: str | None = None) -> None:
        self.workers.put(worker(name, slots, pool=pool))
        self.workers.alive(name)

    def ask(
        self,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
        service_class: ServiceClass | None = None,
        **fields: Any,
    ) -> tuple[InflightRequest, MemoryReply]:
        self._number += 1
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 10, **fields}
        call = Call(f"req_{self._number}", Operation.CHAT, json.dumps(body).encode(), timeout, idempotency_key=idempotency_key)
        call.service_class = service_class
        reply = MemoryReply()
        return self.pipeline.run(self.principal, call, reply), reply

    @property
    def sent(self) -> list[SentRequest]:
        return self.transport.sent

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.pipeline.expire_and_keep_alive()

    def leaks(self) -> dict[str, object]:
        """What requests that are over should have given back."""
        found: dict[str, object] = {"active": self.deps.active, "retrying": self.deps.retrying}
        found |= {"slots of the journal": len(self.journal.slots), "running": self.deps.gate.in_flight(self.principal)}
        found["running tasks"] = self.deps.task_gate.in_flight(self.principal)
        found |= {"idempotency": len(self.deps.answers._running), "waiting": sum(map(len, self.deps.queues.values()))}
        found["batch"] = len(self.deps.batch)
        for queue in self.deps.queues.values():
            found |= {f"counters of {each.name}": queue.counters(each) for each in ServiceClass}
            found |= {f"deficit of {each.name}": deficit for each, deficit in queue.deficits.items()}
        for member in self.workers.members():
            found |= {f"in flight at {member.id}": member.in_flight, f"tokens at {member.id}": member.outstanding_tokens}
        for serving in self.workers._models.values():
            found["busy"] = serving._busy
        return {name: value for name, value in found.items() if value}
