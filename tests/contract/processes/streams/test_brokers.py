"""What every broker owes: asked of each member of the family on disk."""

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import pytest

from penstock.domain.durable.streams import StreamMessage, StreamRecord
from penstock.domain.ports import Broker, StreamRefused, StreamSource, StreamUnreachable
from penstock.domain.ports.streams import MESSAGE_ID
from penstock.processes.streams.brokers import BROKERS, make_broker
from tests.support import brokers

MEMBERS = BROKERS.names()
WAIT_SECONDS = 1.0


@pytest.fixture(scope="module")
def kafka_address() -> Iterator[str]:
    with brokers.kafka() as address:
        yield address


@dataclass
class Place:
    """A broker, a topic that nobody else uses, and what is to be closed."""

    name: str
    broker: Broker
    topic: str
    sources: list[StreamSource] = field(default_factory=list)

    async def source(self, group: str = "readers") -> StreamSource:
        source = self.broker.source(self.topic, group)
        self.sources.append(source)
        await source.open()
        return source

    async def publish(self, *messages: StreamMessage) -> list[str | None]:
        sink = self.broker.sink(self.topic)
        await sink.open()
        try:
            return await sink.publish(messages)
        finally:
            await sink.close()


@pytest.fixture(params=MEMBERS)
async def place(request: pytest.FixtureRequest, kafka_address: str) -> AsyncIterator[Place]:
    name = request.param
    async with AsyncExitStack() as stack:
        topic, servers, options = f"topic-{secrets.token_hex(4)}", "", dict[str, str]()
        if name == "kafka":
            servers, options = kafka_address, {"session.timeout.ms": "6000", "log_level": "0"}
        elif name == "nats":
            servers = brokers.nats_url()
            topic = f"{await stack.enter_async_context(brokers.nats_stream(servers))}.in"
        found = Place(name, make_broker(name, servers.split(","), options), topic)
        yield found
        for source in found.sources:
            await source.close()


def messages(count: int, start: int = 0) -> list[StreamMessage]:
    return [StreamMessage(f"id-{n}", f"key-{n}", b'{"n": %d}' % n, (("colour", "red"),)) for n in range(start, start + count)]


async def taken(source: StreamSource, count: int, seconds: float = 20) -> list[StreamRecord]:
    """At least so many."""
    found: list[StreamRecord] = []

    async def more() -> bool:
        found.extend(await source.fetch(count, WAIT_SECONDS))
        return len(found) >= count

    await brokers.soon(more, seconds)
    return found


def values(records: list[StreamRecord]) -> list[bytes]:
    return sorted(record.value or b"" for record in records)


async def test_published_message_is_read_and_acknowledged_once(place: Place) -> None:
    assert await place.publish(*messages(20)) == [None] * 20
    source = await place.source()
    records = await taken(source, 20)
    assert values(records) == sorted(message.value for message in messages(20))
    assert all(("colour", "red") in record.headers for record in records)
    assert {dict(record.headers)[MESSAGE_ID] for record in records} == {f"id-{n}" for n in range(20)}
    positions = {record.position for record in records}
    assert len(positions) == 20
    assert all(position.startswith(f"{place.name}:") and position.isprintable() and " " not in position for position in positions)
    await source.hold(records)
    await source.acknowledge(records)
    assert await source.fetch(10, WAIT_SECONDS) == []
    await source.close()
    # Kafka hands out nothing before the group has been formed anew, which takes 3 s.
    assert await (await place.source()).fetch(10, 6.0 if place.name == "kafka" else 0.5) == []


async def test_unacknowledged_record_is_delivered_again_at_the_same_position(place: Place) -> None:
    await place.publish(*messages(10))
    first = await place.source()
    before = await taken(first, 10)
    left = before[3]
    # In any order, and with a gap: what lies behind the gap may come again, what lies in it must.
    await first.acknowledge([record for record in reversed(before) if record is not left])
    await first.release([left])
    await first.close()
    # What was given back comes at once, and not after the 15 s for which NATS would have held it.
    again = await taken(await place.source(), 1, seconds=20 if place.name == "kafka" else 10)
    assert (left.position, left.value) in {(record.position, record.value) for record in again}
    assert {record.position for record in again} <= {record.position for record in before}


async def test_each_group_reads_everything(place: Place) -> None:
    await place.publish(*messages(5))
    one = await taken(await place.source("one"), 5)
    other = await taken(await place.source("other"), 5)
    assert values(one) == values(other)
    assert {record.position for record in one} == {record.position for record in other}


async def test_two_readers_of_a_group_share(place: Place) -> None:
    await place.publish(*messages(6))
    first = await place.source()
    records = await taken(first, 6)
    await first.acknowledge(records)
    second = await place.source()
    await place.publish(*messages(6, start=6))
    found: list[StreamRecord] = []

    async def both() -> bool:
        for source in (first, second):
            found.extend(more := await source.fetch(10, WAIT_SECONDS))
            with suppress(StreamUnreachable):  # while the group is formed anew; what was not heard is said again later
                await source.acknowledge(more)
        return len({record.value for record in found}) == 6

    await brokers.soon(both, 30)
    assert values(found)[0] >= b'{"n": 10}'


async def test_message_that_is_too_large_is_reported_and_the_rest_is_published(place: Place) -> None:
    small = messages(2)
    outcomes = await place.publish(small[0], StreamMessage("large", "k", b"x" * 2_000_000), small[1])
    assert [outcome is None for outcome in outcomes] == [True, False, True]
    assert "larger" in str(outcomes[1]) or "bytes" in str(outcomes[1]) or "too large" in str(outcomes[1])
    assert values(await taken(await place.source(), 2)) == values_of(small)


def values_of(given: list[StreamMessage]) -> list[bytes]:
    return sorted(message.value for message in given)


async def test_fetch_without_records_returns_empty(place: Place) -> None:
    await place.publish(*messages(1))
    source = await place.source()
    await source.acknowledge(await taken(source, 1))
    await source.hold([])
    assert await source.fetch(1, 0.1) == []
    await source.open()
    assert await source.fetch(1, 0.1) == []


@pytest.mark.parametrize(("name", "server"), [("kafka", "127.0.0.1:{}"), ("nats", "nats://127.0.0.1:{}")])
async def test_unreachable_broker_raises_stream_unreachable(name: str, server: str) -> None:
    options = {"log_level": "0"} if name == "kafka" else {}
    broker = make_broker(name, [server.format(brokers.free_port())], options)
    source, sink = broker.source("in", "readers"), broker.sink("out")
    with pytest.raises(StreamUnreachable, match=name.upper() if name == "nats" else "Kafka"):
        await source.open()
    with pytest.raises(StreamUnreachable):
        await sink.open()
    await source.close()
    await sink.close()


@pytest.mark.parametrize(
    ("name", "servers", "options", "words"),
    [
        ("kafka", [], {}, "address of a server"),
        ("nats", [], {}, "address of a server"),
        ("nats", ["nats://127.0.0.1:1"], {"colour": "red"}, "there is no option 'colour' for nats"),
        ("kafka", ["127.0.0.1:1"], {"enable.auto.commit": "true"}, "enable.auto.commit cannot be changed"),
        ("kafka", ["127.0.0.1:1"], {"colour": "red"}, "colour"),
    ],
)
async def test_bad_options_are_refused(name: str, servers: list[str], options: Mapping[str, str], words: str) -> None:
    with pytest.raises(StreamRefused, match=words):
        await make_broker(name, servers, options).source("in", "readers").open()


async def test_subject_without_a_stream_is_unreachable() -> None:
    broker = make_broker("nats", [brokers.nats_url()], {})
    source, sink = broker.source("streams.nobody.has.this", "readers"), broker.sink("streams.nobody.has.this")
    with pytest.raises(StreamUnreachable, match="no JetStream stream has the subject"):
        await source.open()
    await sink.open()
    with pytest.raises(StreamUnreachable, match="no JetStream stream takes the subject"):
        await sink.publish(messages(1))
    await source.close()
    await sink.close()


async def test_nats_consumer_name_in_use_for_another_subject_is_refused() -> None:
    url = brokers.nats_url()
    async with brokers.nats_stream(url) as name:
        broker = make_broker("nats", [url], {})
        first, second = broker.source(f"{name}.one", "readers"), broker.source(f"{name}.two", "readers")
        await first.open()
        with pytest.raises(StreamRefused, match="choose another name"):
            await second.open()
        await first.close()
        await second.close()
