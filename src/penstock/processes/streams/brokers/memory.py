"""A broker in memory, gone with the process: the twin of the real ones for tests."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from penstock.domain.durable.streams import StreamMessage, StreamRecord
from penstock.domain.ports import BrokerFactory
from penstock.domain.ports.streams import MESSAGE_ID

LARGEST_BYTES = 1_000_000


@dataclass(slots=True)
class Topic:
    messages: list[StreamMessage] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledged: dict[str, set[int]] = field(default_factory=dict)
    """By group, as indices in `messages`."""
    held: dict[str, set[int]] = field(default_factory=dict)
    """Likewise: handed out to a reader, and not acknowledged."""


class MemoryBroker:
    def __init__(self, servers: Sequence[str] = (), options: Mapping[str, str] | None = None) -> None:
        del servers, options  # every member is made the same way
        self.topics: dict[str, Topic] = {}

    def topic(self, name: str) -> Topic:
        return self.topics.setdefault(name, Topic())

    def source(self, topic: str, group: str) -> "MemorySource":
        return MemorySource(self.topic(topic), topic, group)

    def sink(self, topic: str) -> "MemorySink":
        return MemorySink(self.topic(topic))


class MemorySource:
    def __init__(self, topic: Topic, name: str, group: str) -> None:
        self._topic = topic
        self._name = name
        self._acknowledged = topic.acknowledged.setdefault(group, set())
        self._held = topic.held.setdefault(group, set())
        self._own: set[int] = set()

    async def open(self) -> None: ...

    async def fetch(self, limit: int, wait_seconds: float) -> list[StreamRecord]:
        try:
            async with asyncio.timeout(wait_seconds):
                while not (indices := self._free()[:limit]):
                    self._topic.grown.clear()
                    await self._topic.grown.wait()
        except TimeoutError:
            return []
        self._held.update(indices)
        self._own.update(indices)
        return [self._record(index) for index in indices]

    async def hold(self, records: Collection[StreamRecord]) -> None: ...

    async def acknowledge(self, records: Collection[StreamRecord]) -> None:
        indices = {record.handle for record in records}
        self._acknowledged |= indices
        self._release(indices)

    async def release(self, records: Collection[StreamRecord]) -> None:
        self._release({record.handle for record in records})
        self._topic.grown.set()

    async def close(self) -> None:
        self._release(set(self._own))
        self._topic.grown.set()

    def _release(self, indices: set[int]) -> None:
        self._held -= indices
        self._own -= indices

    def _free(self) -> list[int]:
        return [index for index in range(len(self._topic.messages)) if index not in self._acknowledged and index not in self._held]

    def _record(self, index: int) -> StreamRecord:
        message = self._topic.messages[index]
        return StreamRecord(f"memory:{self._name}:{index}", message.value, message.headers, index)


class MemorySink:
    """Keeps repetitions: a test sees what was published twice."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic

    async def open(self) -> None: ...

    async def publish(self, messages: Sequence[StreamMessage]) -> list[str | None]:
        return [self._add(message) for message in messages]

    def _add(self, message: StreamMessage) -> str | None:
        if len(message.value) > LARGEST_BYTES:
            return f"it has {len(message.value)} bytes, more than {LARGEST_BYTES}"
        headers = (*message.headers, (MESSAGE_ID, message.id))
        self._topic.messages.append(StreamMessage(message.id, message.key, message.value, headers))
        self._topic.grown.set()
        return None

    async def close(self) -> None: ...


MEMBER: BrokerFactory = MemoryBroker
