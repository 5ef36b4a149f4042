"""How a request reaches a worker, and its answer comes back. Plain calls and callbacks."""

from dataclasses import dataclass
from typing import Protocol

from penstock.domain.workers import WorkerRecord


class UpstreamCall(Protocol):
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

    def send(self, worker: WorkerRecord, path: str, request_id: str, body: bytes, sink: ResponseSink) -> UpstreamCall:
        """Never raises for what the network does: that is the sink's `failed`, which may be called before this returns."""
        ...

    def forget(self, worker_id: str) -> None:
        """Close idle connections to a worker that is gone."""
        ...


class TransportFactory(Protocol):
    """`MEMBER` of the family `compute.transport`."""

    def __call__(self, connect_seconds: float, first_byte_seconds: float, between_chunks_seconds: float, /) -> Transport:
        """Not yet open. Each time limit ends a request with a `TransportFailure`."""
        ...
