"""Where a request meets the rooms it passes. Plain calls and callbacks."""

from dataclasses import dataclass
from typing import Protocol

from penstock.domain.call import Call
from penstock.domain.errors import PenstockError
from penstock.domain.principal import Principal
from penstock.domain.usage import UsageRecord
from penstock.domain.workers import WorkerRecord


class Exchange(Protocol):
    """A request on its way to one worker."""

    def cancel(self) -> None:
        """Close the connection, which stops the generation; the sink hears nothing more."""
        ...

    def pause(self) -> None: ...
    def resume(self) -> None: ...


class ResponseSink(Protocol):
    """Hears what a worker answers. Exactly one of `answered`, `end` and `failed` comes last, unless the exchange was cancelled."""

    def answered(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """All of it at once: `head`, `data` and `end` in one."""
        ...

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Header names in lower case."""
        ...

    def data(self, data: bytes) -> None:
        """All of the body that came with one read, without its chunk framing."""
        ...

    def end(self) -> None: ...

    def failed(self, reason: "TransportFailure") -> None: ...


@dataclass(frozen=True, slots=True)
class TransportFailure:
    """Why an exchange broke. `kind`: connect, reset, timeout, protocol."""

    kind: str
    detail: str
    """For the log, never for the caller."""


class Transport(Protocol):
    """Carries a request to a worker and its answer back."""

    def send(self, worker: WorkerRecord, path: str, request_id: str, body: bytes, sink: ResponseSink) -> Exchange:
        """Never raises for what the network does: that is the sink's `failed`, which may be called before this returns."""
        ...

    def forget(self, worker_id: str) -> None:
        """Close idle connections to a worker that is gone."""
        ...


class Reply(Protocol):
    """Where an answer goes: an HTTP connection, or a task that waits for it. One `send` or `refuse`, or `start`, `write`*, `end`."""

    def refuse(self, error: PenstockError, headers: bytes) -> None:
        """There is no answer, but an error."""
        ...

    def send(self, status: int, headers: bytes, body: bytes) -> None:
        """A whole answer. `headers` are ready lines, each with its CRLF, without framing headers."""
        ...

    def start(self, status: int, headers: bytes) -> None:
        """Begin a streamed answer."""
        ...

    def write(self, data: bytes) -> None: ...

    def end(self) -> None: ...


class Flight(Protocol):
    """A request inside the pipeline, as its reply's owner sees it."""

    def cancel(self) -> None:
        """Whoever waited has left: stop the generation, settle what was used."""
        ...

    def pause(self) -> None:
        """The reader is slow: stop reading from the worker."""
        ...

    def resume(self) -> None: ...


class JournalSlot(Protocol):
    """The journal's note of one stream in flight."""

    def update(self, prompt: int, completion: int, cached: int = 0, reasoning: int = 0, estimated: bool = False) -> None:
        """The tokens so far; called before the bytes that carry them leave."""
        ...

    def clear(self) -> None: ...


class UsageJournal(Protocol):
    """Where usage is noted, on this machine, before the bytes that it describes leave. Never raises, never waits."""

    def begin(self, record: UsageRecord) -> JournalSlot | None: ...
    def finish(self, record: UsageRecord) -> None: ...


class Inference(Protocol):
    """One request through admission, scheduling, routing, a transport and the meter."""

    def run(self, principal: Principal, call: Call, reply: Reply) -> Flight:
        """Never raises for what the caller did: the reply is told."""
        ...
