"""Simulated workers behind the transport's port: replicas that are slow, crash and come back when the scenario says so."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from penstock.domain.ports import ResponseSink, TransportFailure
from penstock.domain.workers import ModelOffer, WorkerKind, WorkerRecord
from penstock.simulation.prefix_cache import PrefixCache
from penstock.simulation.rehearsal.agenda import Agenda
from penstock.simulation.rehearsal.bodies import MODEL
from penstock.simulation.rehearsal.traffic import PlannedRequest
from penstock.simulation.replica import SimulatedReplica, Speed

_CONNECT_SECONDS = 0.001
_FIRST_BYTE_SECONDS = 60.0
_STREAM = (b"content-type", b"text/event-stream")


@dataclass(frozen=True, slots=True)
class MachineSpec:
    name: str
    speed: Speed = Speed()
    slots: int = 64
    """Requests that the gateway may send it at the same time."""
    prefix_cache_tokens: int = 0
    pool: str | None = None
    news_seconds: float = 1.0
    """How often a stream shows what was made since the last time."""

    def record(self) -> WorkerRecord:
        return WorkerRecord(
            self.name, self.name, WorkerKind.WORKER, "sim", "http://127.0.0.1:1", (ModelOffer(MODEL),), self.slots, self.pool
        )


class Job:
    """One request at one machine. Implements `domain.ports.UpstreamCall`."""

    __slots__ = ("ask", "cached", "ended", "machine", "reported_tokens", "sink")

    def __init__(self, machine: "Machine", ask: PlannedRequest, sink: ResponseSink) -> None:
        self.machine = machine
        self.ask = ask
        self.sink = sink
        self.cached = 0
        self.reported_tokens = 0
        self.ended = False

    def cancel(self) -> None:
        if not self.ended:
            self.ended = True
            self.machine.forget(self)

    def pause(self) -> None:
        """Rehearsed readers are never slow."""

    def resume(self) -> None: ...


class Machine:
    """One replica and its faults."""

    def __init__(self, spec: MachineSpec, agenda: Agenda) -> None:
        self.spec = spec
        self.name = spec.name
        self._agenda = agenda
        self.down = False
        self.draining = False
        self.hung = False
        """Takes requests and says nothing."""
        self.requests = 0
        self.prompt_tokens = self.cached_tokens = 0
        self._jobs: dict[Job, None] = {}
        self._due: float | None = None
        self._start()
        agenda.every(spec.news_seconds, self._news)

    def _start(self) -> None:
        self.replica: SimulatedReplica[Job] = SimulatedReplica(self.spec.speed)
        self._prefixes = PrefixCache(self.spec.prefix_cache_tokens)

    # faults

    def crash(self) -> None:
        """Everything that runs is cut off, and no client can connect."""
        self.down = True
        jobs, self._jobs = list(self._jobs), {}
        self._due = None
        self._start()
        for job in jobs:
            job.ended = True
            job.sink.failed(TransportFailure("reset", "the machine crashed"))

    def restart(self) -> None:
        """With cold caches."""
        self.down = False

    def slow(self, factor: float) -> None:
        """`factor` times as slow as it was made."""
        self._catch_up()
        self.replica.become(self.spec.speed.times(1.0 / factor))
        self._schedule()

    @property
    def idle(self) -> bool:
        return not self._jobs

    def under_way(self) -> Iterator[tuple[PlannedRequest, int]]:
        """What it works on, and the tokens that each has until now."""
        self._catch_up()
        for job in self._jobs:
            if made := self.replica.made(job):
                yield job.ask, made

    # requests

    def take(self, ask: PlannedRequest, sink: ResponseSink) -> Job:
        """A request arrives. A machine that is down refuses it, one that hangs never answers; part of the prompt may be in its cache."""
        self.requests += 1
        job = Job(self, ask, sink)
        if self.down:
            self._agenda.after(_CONNECT_SECONDS, lambda: self._refuse(job))
            return job
        self._jobs[job] = None
        if self.hung:
            self._agenda.after(_FIRST_BYTE_SECONDS, lambda: self._give_up(job))
            return job
        self._catch_up()
        job.cached = self._prefixes.read(ask.prefix, ask.prefix_tokens) if ask.prefix_tokens else 0
        self.prompt_tokens += ask.prompt_tokens
        self.cached_tokens += job.cached
        self.replica.submit(job, ask.prompt_tokens, ask.output_tokens, self._agenda.now, job.cached)
        self._schedule()
        return job

    def forget(self, job: Job) -> None:
        """Its client has left."""
        if self._jobs.pop(job, self) is None:
            self.replica.cancel(job)

    def _give_up(self, job: Job) -> None:
        """As the transport does when no byte comes."""
        if not job.ended:
            job.ended = True
            self._jobs.pop(job, None)
            job.sink.failed(TransportFailure("timeout", "no byte came"))

    def _refuse(self, job: Job) -> None:
        if not job.ended:
            job.ended = True
            job.sink.failed(TransportFailure("connect", "connection refused"))

    # what it makes

    def _schedule(self) -> None:
        due = self.replica.next_change()
        if due is not None and (self._due is None or due < self._due):
            self._due = due
            self._agenda.at(due, lambda: self._wake(due))

    def _wake(self, due: float) -> None:
        if self._due == due:
            self._due = None
            self._catch_up()
            self._schedule()

    def _catch_up(self) -> None:
        first, gone = self.replica.progress(self._agenda.now)
        for job in first:
            if not job.ended:
                job.sink.head(200, [_STREAM, (b"x-penstock-prompt-tokens", b"%d" % job.ask.prompt_tokens)])
                self._tell(job, 1)
        for job in gone:
            if not job.ended:
                self._finish(job)

    def _finish(self, job: Job) -> None:
        job.ended = True
        del self._jobs[job]
        left = job.ask.output_tokens - job.reported_tokens
        job.sink.data(tokens(left) + ending(job.ask.prompt_tokens, job.ask.output_tokens, job.cached))
        job.sink.end()

    def _news(self) -> None:
        if self.replica.running:
            self._catch_up()
            for job in list(self._jobs):
                made = self.replica.made(job)
                if not job.ended and 0 < job.reported_tokens < made:
                    self._tell(job, made - job.reported_tokens)
            self._schedule()

    def _tell(self, job: Job, count: int) -> None:
        job.reported_tokens += count
        job.sink.data(tokens(count))


class Machines:
    """Implements `domain.ports.Transport`. `asked`: what the request of that id asks for."""

    def __init__(self, asked: Callable[[str], PlannedRequest]) -> None:
        self._asked = asked
        self._machines: dict[str, Machine] = {}
        self.sent = 0

    def add(self, machine: Machine) -> None:
        self._machines[machine.name] = machine

    def remove(self, machine: Machine) -> None:
        del self._machines[machine.name]

    def send(self, worker: WorkerRecord, path: str, request_id: str, body: bytes, sink: ResponseSink) -> Job:
        self.sent += 1
        return self._machines[worker.id].take(self._asked(request_id), sink)

    def forget(self, worker_id: str) -> None: ...


@lru_cache(maxsize=4096)
def tokens(count: int) -> bytes:
    """Events of so many tokens."""
    return b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n' * count


def ending(prompt_tokens: int, output_tokens: int, cached_tokens: int) -> bytes:
    return (
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
        b'data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}}\n\n'
        b"data: [DONE]\n\n" % (prompt_tokens, output_tokens, cached_tokens)
    )
