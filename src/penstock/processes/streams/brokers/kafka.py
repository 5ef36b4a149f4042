"""Kafka, by librdkafka. Its calls block, so each runs in a thread; options are librdkafka's own, such as `security.protocol`."""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as Delivered

from penstock.domain.durable.streams import StreamMessage, StreamRecord
from penstock.domain.ports import BrokerFactory, StreamRefused, StreamUnreachable
from penstock.domain.ports.streams import MESSAGE_ID
from penstock.processes.streams.brokers._offsets import PartitionOffsets

T = TypeVar("T")
log = structlog.get_logger("penstock.streams")

_REQUEST_SECONDS = 5.0
_DELIVERY_SECONDS = 30.0
_QUIET_SECONDS = 60.0
"""Without a fetch for so long, the group is shown that this reader lives; it would be given up after five minutes."""
_FIXED = frozenset({"bootstrap.servers", "group.id", "enable.auto.commit", "enable.auto.offset.store", "acks", "enable.idempotence"})
"""What the promises rest on."""
_PERMANENT_ERRORS = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED})
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
_CONSUMER_OPTIONS = (
    "fetch.",
    "session.",
    "heartbeat.",
    "max.poll.",
    "auto.offset.",
    "partition.assignment.",
    "group.",
    "queued.",
    "isolation.",
)


class KafkaBroker:
    def __init__(self, servers: Sequence[str], options: Mapping[str, str]) -> None:
        """Raises StreamRefused for an option that would break a promise."""
        if not servers:
            raise StreamRefused("Kafka needs the address of a server, such as 127.0.0.1:9092")
        for name in options:
            if name in _FIXED:
                raise StreamRefused(f"the option {name} cannot be changed")
        self._shared: dict[str, Any] = {"error_cb": _log_error, **options, "bootstrap.servers": ",".join(servers)}

    def source(self, topic: str, group: str) -> "KafkaSource":
        own = {"group.id": group, "enable.auto.commit": False, "enable.auto.offset.store": False}
        return KafkaSource({"auto.offset.reset": "earliest", **self._shared, **own}, topic)

    def sink(self, topic: str) -> "KafkaSink":
        shared = {name: value for name, value in self._shared.items() if not name.startswith(_CONSUMER_OPTIONS)}
        own = {"acks": "all", "enable.idempotence": True, "delivery.timeout.ms": int(_DELIVERY_SECONDS * 1000)}
        return KafkaSink({"linger.ms": 5, **own, **shared}, topic)


class _RecordOffset(NamedTuple):
    partition: int
    offset: int
    offsets: PartitionOffsets
    """Of the assignment in which it was handed out: what was revoked since is acknowledged in vain."""


class KafkaSource:
    """The committed offset of a partition moves over what is acknowledged without a gap."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        self._config = config
        self._topic = topic
        self._consumer: Consumer | None = None
        self._offsets: dict[int, PartitionOffsets] = {}
        self._lock = Lock()
        self._poll_lock = asyncio.Lock()
        self._prefetched: list[StreamRecord] = []
        self._last_poll = 0.0

    async def open(self) -> None:
        if self._consumer is None:
            self._consumer = await _in_thread(lambda: _new_client(Consumer, self._config))
            self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
        consumer = self._consumer
        await _in_thread(lambda: _check_topic(consumer, self._topic))

    async def fetch(self, limit: int, wait_seconds: float) -> list[StreamRecord]:
        async with self._poll_lock:
            if self._prefetched:
                taken, self._prefetched = self._prefetched[:limit], self._prefetched[limit:]
                return taken
            return await _until_done(_in_thread(lambda: self._consumed(limit, wait_seconds)))

    async def hold(self, records: Collection[StreamRecord]) -> None:
        await self._commit()
        if self._poll_lock.locked() or time.monotonic() - self._last_poll < _QUIET_SECONDS:
            return
        async with self._poll_lock:
            self._prefetched += await _until_done(_in_thread(lambda: self._consumed(1, 0.0)))

    async def acknowledge(self, records: Collection[StreamRecord]) -> None:
        with self._lock:
            for record in records:
                position: _RecordOffset = record.handle
                position.offsets.acknowledge(position.offset)
        await self._commit()

    async def release(self, records: Collection[StreamRecord]) -> None:
        """Not committed, so the next reader of the partition has them."""

    async def close(self) -> None:
        async with self._poll_lock:
            consumer, self._consumer = self._consumer, None
            if consumer is not None:
                await _in_thread(consumer.close)  # which revokes, and so commits

    async def _commit(self) -> None:
        """What could not be committed before, too."""
        consumer = self._consumer
        if consumer is not None and (due := self._offsets_to_commit()):
            await _in_thread(lambda: self._commit_these(consumer, due))

    def _offsets_to_commit(self) -> dict[int, int]:
        """By partition, of those that are assigned."""
        with self._lock:
            return {partition: offset for partition, offsets in self._offsets.items() if (offset := offsets.commit_offset()) is not None}

    def _commit_these(self, consumer: Consumer, due: Mapping[int, int]) -> None:
        consumer.commit(offsets=[TopicPartition(self._topic, *each) for each in due.items()], asynchronous=False)
        with self._lock:
            for partition, offset in due.items():
                if partition in self._offsets:
                    self._offsets[partition].committed(offset)

    def _consumed(self, limit: int, wait_seconds: float) -> list[StreamRecord]:
        assert self._consumer is not None
        self._last_poll = time.monotonic()
        # The call waits until it has as many as it was asked for: so for one, and then for what is there already.
        delivered = self._consumer.consume(1, wait_seconds)
        if delivered and limit > 1:
            delivered += self._consumer.consume(limit - 1, 0.0)
        errors = [error for message in delivered if (error := message.error()) is not None]
        with self._lock:
            records = [self._record(message) for message in delivered if message.error() is None]
        if errors and not records:
            raise KafkaException(errors[0])
        for error in errors:  # not instead of what came with it: that would not come again
            _log_error(error)
        return records

    def _record(self, message: "Delivered[Any, Any]") -> StreamRecord:
        partition, offset, (_, at) = message.partition(), message.offset(), message.timestamp()
        assert partition is not None
        assert offset is not None
        offsets = self._offsets.setdefault(partition, PartitionOffsets())
        offsets.hand_out(offset)
        # With the time of the record: offsets begin anew in a topic that was deleted and made again.
        position = f"kafka:{self._topic}:{partition}:{offset}@{at}"
        return StreamRecord(position, message.value(), _headers(message.headers()), _RecordOffset(partition, offset, offsets))

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        with self._lock:
            self._offsets |= {each.partition: PartitionOffsets() for each in partitions}
        log.info("partitions_assigned", topic=self._topic, partitions=sorted(each.partition for each in partitions))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Tell the next reader how far we have come, as long as they are ours."""
        due = self._offsets_to_commit()
        try:
            if due:
                self._commit_these(consumer, due)
        except KafkaException as error:
            log.info("offsets_not_committed", error=error.args[0].str())
        self._lost(consumer, partitions)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        with self._lock:
            for each in partitions:
                self._offsets.pop(each.partition, None)


class KafkaSink:
    """Acknowledged by all replicas in sync; the producer's own repetitions are dropped by the broker."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        self._config = config
        self._topic = topic
        self._producer: Producer | None = None

    async def open(self) -> None:
        if self._producer is None:
            self._producer = await _in_thread(lambda: _new_client(Producer, self._config))
        producer = self._producer
        await _in_thread(lambda: _check_topic(producer, self._topic))

    async def publish(self, messages: Sequence[StreamMessage]) -> list[str | None]:
        return await _in_thread(lambda: self._produced(messages))

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _in_thread(lambda: producer.flush(_REQUEST_SECONDS))

    def _produced(self, messages: Sequence[StreamMessage]) -> list[str | None]:
        assert self._producer is not None
        deliveries: dict[int, KafkaError | None] = {}
        for number, message in enumerate(messages):
            self._produce(number, message, deliveries)
        self._producer.flush(_DELIVERY_SECONDS + _REQUEST_SECONDS)
        for number in range(len(messages)):
            error = deliveries.get(number, KafkaError(KafkaError._TIMED_OUT))
            if error is not None and error.code() not in _TOO_LARGE:
                raise KafkaException(error)
        return [None if (error := deliveries[number]) is None else error.str() for number in range(len(messages))]

    def _produce(self, number: int, message: StreamMessage, deliveries: dict[int, KafkaError | None]) -> None:
        assert self._producer is not None
        headers: list[tuple[str, str | bytes | None]] = [*message.headers, (MESSAGE_ID, message.id)]
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    message.value,
                    message.key.encode(),
                    headers=headers,
                    on_delivery=lambda error, _message: deliveries.update({number: error}),
                )
            except BufferError:  # its queue is full: give the network a moment
                self._producer.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() not in _TOO_LARGE:
                    raise
                deliveries[number] = error.args[0]
                return
            else:
                return


def _new_client(make: Callable[[dict[str, Any]], T], config: Mapping[str, Any]) -> T:
    """Raises StreamRefused for options that librdkafka does not take."""
    try:
        return make(dict(config))
    except KafkaException as error:
        raise StreamRefused(f"Kafka: {error.args[0].str()}") from error


def _check_topic(client: Consumer | Producer, topic: str) -> None:
    """Raises KafkaException when no broker answers, or the topic is not there and none is made."""
    error = client.list_topics(topic, timeout=_REQUEST_SECONDS).topics[topic].error
    # A broker that makes topics as they are used says this the first time.
    if error is not None and error.code() not in (KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART):
        raise KafkaException(error)


async def _in_thread(call: Callable[[], T]) -> T:
    """Raises StreamUnreachable or StreamRefused for what Kafka says."""
    try:
        return await asyncio.to_thread(call)
    except KafkaException as error:
        problem = error.args[0]
        kind = StreamRefused if problem.code() in _PERMANENT_ERRORS else StreamUnreachable
        raise kind(f"Kafka: {problem.str()}") from error
    except RuntimeError as error:  # a client that was closed meanwhile
        raise StreamUnreachable(f"Kafka: {error}") from error


async def _until_done(call: Coroutine[Any, Any, T]) -> T:
    """Also when cancelled: a consumer must not be closed while a thread waits in it."""
    task = asyncio.create_task(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _headers(given: Any) -> tuple[tuple[str, str], ...]:
    pairs = given.items() if isinstance(given, dict) else given or ()
    return tuple((name, (value or b"").decode(errors="replace") if not isinstance(value, str) else value) for name, value in pairs)


def _log_error(error: KafkaError) -> None:
    log.warning("kafka_error", error=error.str())


MEMBER: BrokerFactory = KafkaBroker
