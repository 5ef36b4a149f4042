"""Brokers of streams: where records come from and where messages go.

Asynchronous; may raise StreamUnreachable. Constructing does nothing; `open` connects, and may be called again after a failure.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from penstock.domain.durable.streams import StreamMessage, StreamRecord

MESSAGE_ID = "penstock-message-id"
"""The header that holds `StreamMessage.id`."""


class StreamUnreachable(Exception):
    """The broker does not answer, or not yet as it should; later it may. The message is for the operator."""


class StreamRefused(Exception):
    """The broker will never do this: a bad option, a wrong password. The message is for the operator."""


class StreamSource(Protocol):
    """Records of one topic for one group of readers. What was handed out and not acknowledged is handed out again, after a crash too."""

    async def open(self) -> None:
        """Raises StreamRefused."""
        ...

    async def fetch(self, limit: int, wait_seconds: float) -> list[StreamRecord]:
        """As soon as there are any; empty when there were none in that time. Not to be cancelled: what it had taken would wait for its
        time to run out.
        """
        ...

    async def hold(self, records: Collection[StreamRecord]) -> None:
        """They are still being worked on; to be called every 4 s, also when there are none."""
        ...

    async def acknowledge(self, records: Collection[StreamRecord]) -> None:
        """Done with; in any order. A broker that keeps one offset for each partition moves it over what is acknowledged without a gap."""
        ...

    async def release(self, records: Collection[StreamRecord]) -> None:
        """Not done with, and not going to be: another source may have them, at the latest when this one is closed."""
        ...

    async def close(self) -> None: ...


class StreamSink(Protocol):
    """Messages to one topic."""

    async def open(self) -> None:
        """Raises StreamRefused."""
        ...

    async def publish(self, messages: Sequence[StreamMessage]) -> list[str | None]:
        """The broker has them safely when this returns. For each None, or why it will never take this one (too large).

        After StreamUnreachable any of them may be there or not.
        """
        ...

    async def close(self) -> None: ...


class Broker(Protocol):
    """A member of the family `streams.brokers`."""

    def source(self, topic: str, group: str) -> StreamSource: ...

    def sink(self, topic: str) -> StreamSink: ...


class BrokerFactory(Protocol):
    """`MEMBER` of the family `streams.brokers`."""

    def __call__(self, servers: Sequence[str], options: Mapping[str, str], /) -> Broker:
        """`options` are those of the broker's own client. Raises StreamRefused for one that it cannot take."""
        ...
