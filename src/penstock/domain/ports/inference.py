"""A request inside the gateway, as the edge and the tasks see it. Plain calls and callbacks."""

from typing import Protocol

from penstock.domain.call import Call
from penstock.domain.errors import PenstockError
from penstock.domain.principal import Principal


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


class InflightRequest(Protocol):
    """A request inside the pipeline, as its reply's owner sees it."""

    def cancel(self) -> None:
        """The client has left: stop the generation, settle what was used."""
        ...

    def pause(self) -> None:
        """The reader is slow: stop reading from the worker."""
        ...

    def resume(self) -> None: ...


class Inference(Protocol):
    """One request through admission, scheduling, routing, a transport and the meter."""

    def run(self, principal: Principal, call: Call, reply: Reply) -> InflightRequest:
        """Never raises for what the caller did: the reply is told."""
        ...
