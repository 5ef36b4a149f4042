"""A broker in memory, gone with the process: the twin of the real ones for tests."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from penstock.domain.durable.streams import Message, Record
from penstock.domain.ports import BrokerFactory
from penstock.domain.ports.streams import MESSAGE_ID

LARGEST_BYTES = 1_000_000


@dataclass(slots=True)
class Topic:
    messages: list[Message] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    settled: dict[str, set[int]] = field(default_factory=dict)
    """By group, as places in `messages`."""
    held: dict[str, set[int]] = field(default_factory=dict)
    """Likewise: handed out to somebody, and not settled."""


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
        self._settled = topic.settled.setdefault(group, set())
        self._held = topic.held.setdefault(group, set())
        self._mine: set[int] = set()

    async def open(self) -> None: ...

    async def fetch(self, limit: int, wait_seconds: float) -> list[Record]:
        try:
            async with asyncio.timeout(wait_seconds):
                while not (places := self._free()[:limit]):
                    self._topic.grown.clear()
                    await self._topic.grown.wait()
        except TimeoutError:
            return []
        self._held.update(places)
        self._mine.update(places)
        return [self._record(place) for place in places]

    async def hold(self, records: Collection[Record]) -> None: ...

    async def settle(self, records: Collection[Record]) -> None:
        places = {record.handle for record in records}
        self._settled |= places
        self._let_go(places)

    async def release(self, records: Collection[Record]) -> None:
        self._let_go({record.handle for record in records})
        self._topic.grown.set()

    async def close(self) -> None:
        self._let_go(set(self._mine))
        self._topic.grown.set()

    def _let_go(self, places: set[int]) -> None:
        self._held -= places
        self._mine -= places

    def _free(self) -> list[int]:
        return [place for place in range(len(self._topic.messages)) if place not in self._settled and place not in self._held]

    def _record(self, place: int) -> Record:
        message = self._topic.messages[place]
        return Record(f"memory:{self._name}:{place}", message.value, message.headers, place)


class MemorySink:
    """Keeps repetitions: a test sees what was published twice."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic

    async def open(self) -> None: ...

    async def publish(self, messages: Sequence[Message]) -> list[str | None]:
        return [self._add(message) for message in messages]

    def _add(self, message: Message) -> str | None:
        if len(message.value) > LARGEST_BYTES:
            return f"it has {len(message.value)} bytes, more than {LARGEST_BYTES}"
        headers = (*message.headers, (MESSAGE_ID, message.id))
        self._topic.messages.append(Message(message.id, message.key, message.value, headers))
        self._topic.grown.set()
        return None

    async def close(self) -> None: ...


MEMBER: BrokerFactory = MemoryBroker
