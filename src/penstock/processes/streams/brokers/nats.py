"""NATS JetStream: a durable pull consumer for reading, acknowledged publishing for writing. The stream has to be there already."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import nats
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import AuthorizationError, MaxPayloadError
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from penstock.domain.durable.streams import StreamMessage, StreamRecord
from penstock.domain.ports import BrokerFactory, StreamRefused, StreamUnreachable
from penstock.domain.ports.streams import MESSAGE_ID

T = TypeVar("T")
log = structlog.get_logger("penstock.streams")

ACK_SECONDS = 15
"""A record that was not confirmed for so long is handed out again."""
_MAX_UNACKNOWLEDGED = 20_000
_REQUEST_SECONDS = 5.0
_CHECK_SECONDS = 30.0
"""A consumer that is gone says nothing, so it is looked at when nothing has come for so long."""
_AT_ONCE = 256
_TOO_LARGE = 10054
"""JetStream's error for a message above the stream's own limit."""
_OPTIONS = ("user", "password", "token", "user_credentials", "nkeys_seed", "tls_ca_file")


class NatsBroker:
    def __init__(self, servers: Sequence[str], options: Mapping[str, str]) -> None:
        """Raises StreamRefused for an unknown option."""
        if not servers:
            raise StreamRefused("NATS needs the address of a server, such as nats://127.0.0.1:4222")
        for name in options:
            if name not in _OPTIONS:
                raise StreamRefused(f"there is no option {name!r} for nats; there are: {', '.join(_OPTIONS)}")
        self._servers = list(servers)
        self._options = dict(options)

    def source(self, topic: str, group: str) -> "NatsSource":
        return NatsSource(_NatsConnection(self._servers, self._options), topic, group)

    def sink(self, topic: str) -> "NatsSink":
        return NatsSink(_NatsConnection(self._servers, self._options), topic)


class _NatsConnection:
    """One connection, which comes back by itself once it was there."""

    def __init__(self, servers: list[str], options: Mapping[str, str]) -> None:
        self._servers = servers
        self._options = options
        self._client: Client | None = None

    @property
    def js(self) -> JetStreamContext:
        assert self._client is not None
        return self._client.jetstream(timeout=_REQUEST_SECONDS)

    async def open(self) -> None:
        if self._client is not None and not self._client.is_closed:
            return
        options: dict[str, Any] = {name: value for name, value in self._options.items() if name != "tls_ca_file"}
        if "tls_ca_file" in self._options:
            options["tls"] = _tls(self._options["tls_ca_file"])
        client, last = Client(), list[Exception]([ConnectionError("no server answers")])

        async def on_error(error: Exception) -> None:
            last[0] = error
            if client.is_connected or self._client is client:
                log.warning("nats_error", error=_message_of(error))

        # The client would try for ever, also the first time; who waits shall hear why.
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                await client.connect(
                    servers=self._servers, error_cb=on_error, max_reconnect_attempts=-1, reconnect_time_wait=1, connect_timeout=2, **options
                )
        except BaseException as error:
            await client.close()
            if isinstance(error, TimeoutError):
                raise last[0] from error
            raise
        self._client = client

    async def flush(self) -> None:
        if self._client is not None:
            await self._client.flush(int(_REQUEST_SECONDS))

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()


class NatsSource:
    """Several sources of one group share its consumer, and so its records."""

    def __init__(self, connection: _NatsConnection, subject: str, group: str) -> None:
        self._connection = connection
        self._subject = subject
        self._group = group
        self._subscription: JetStreamContext.PullSubscription | None = None
        self._last_contact = 0.0

    async def open(self) -> None:
        await _translated(self._connection.open)
        await _translated(self._subscribe)

    async def fetch(self, limit: int, wait_seconds: float) -> list[StreamRecord]:
        return await _translated(lambda: self._fetch(limit, wait_seconds))

    async def hold(self, records: Collection[StreamRecord]) -> None:
        for record in records:
            await _translated(record.handle.in_progress)

    async def acknowledge(self, records: Collection[StreamRecord]) -> None:
        for record in records:
            if not record.handle.is_acked:
                await _translated(record.handle.ack)
        await _translated(self._connection.flush)

    async def release(self, records: Collection[StreamRecord]) -> None:
        for record in records:
            if not record.handle.is_acked:
                await _translated(record.handle.nak)
        await _translated(self._connection.flush)

    async def close(self) -> None:
        await _translated(self._connection.close)

    async def _subscribe(self) -> None:
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None
        config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_SECONDS, max_ack_pending=_MAX_UNACKNOWLEDGED, max_deliver=-1)
        try:
            self._subscription = await self._connection.js.pull_subscribe(self._subject, durable=self._group, config=config)
        except NotFoundError as error:
            raise StreamUnreachable(f"NATS: no JetStream stream has the subject {self._subject}") from error
        self._last_contact = time.monotonic()
        found = (await self._subscription.consumer_info()).config
        if found.ack_policy != AckPolicy.EXPLICIT or found.filter_subject not in (None, "", self._subject):
            raise StreamRefused(f"NATS: there is another consumer {self._group}, of {found.filter_subject}: choose another name")

    async def _fetch(self, limit: int, wait_seconds: float) -> list[StreamRecord]:
        assert self._subscription is not None
        try:
            messages = await self._subscription.fetch(limit, timeout=wait_seconds)
        except NatsTimeout:
            if time.monotonic() - self._last_contact >= _CHECK_SECONDS:
                await self._subscription.consumer_info()
                self._last_contact = time.monotonic()
            return []
        self._last_contact = time.monotonic()
        return [_record(message) for message in messages]


class NatsSink:
    """`Nats-Msg-Id` is the message's id: the stream drops what comes again within its window (two minutes unless set otherwise)."""

    def __init__(self, connection: _NatsConnection, subject: str) -> None:
        self._connection = connection
        self._subject = subject

    async def open(self) -> None:
        await _translated(self._connection.open)

    async def publish(self, messages: Sequence[StreamMessage]) -> list[str | None]:
        found: list[str | None] = []
        for start in range(0, len(messages), _AT_ONCE):
            found += await asyncio.gather(*(self._publish(message) for message in messages[start : start + _AT_ONCE]))
        return found

    async def close(self) -> None:
        await _translated(self._connection.close)

    async def _publish(self, message: StreamMessage) -> str | None:
        headers = {**dict(message.headers), MESSAGE_ID: message.id, "Nats-Msg-Id": message.id}
        try:
            await _translated(
                lambda: self._connection.js.publish(self._subject, message.value, timeout=2 * _REQUEST_SECONDS, headers=headers)
            )
        except _MessageTooLarge as error:
            return str(error)
        except NoStreamResponseError as error:
            raise StreamUnreachable(f"NATS: no JetStream stream takes the subject {self._subject}") from error
        return None


class _MessageTooLarge(Exception):
    """The message is too large for the server or the stream."""


def _record(message: Msg) -> StreamRecord:
    metadata = message.metadata
    # With the time of the record: sequences begin anew in a stream that was deleted and made again.
    position = f"nats:{metadata.stream}:{metadata.sequence.stream}@{int(metadata.timestamp.timestamp() * 1000)}"
    return StreamRecord(position, message.data, tuple((message.headers or {}).items()), message)


async def _translated(call: Callable[[], Awaitable[T]]) -> T:
    """Raises StreamUnreachable or StreamRefused for what NATS says."""
    try:
        return await call()
    except (AuthorizationError, FileNotFoundError) as error:
        raise StreamRefused(f"NATS: {_message_of(error)}") from error
    except NoStreamResponseError:
        raise
    except MaxPayloadError as error:
        raise _MessageTooLarge("it is larger than the server takes") from error
    except APIError as error:
        if error.err_code == _TOO_LARGE:
            raise _MessageTooLarge("it is larger than the stream takes") from error
        raise StreamUnreachable(f"NATS: {_message_of(error)}") from error
    except (nats.errors.Error, OSError, ValueError) as error:
        if "Authorization" in str(error):
            raise StreamRefused(f"NATS: {_message_of(error)}") from error
        raise StreamUnreachable(f"NATS: {_message_of(error)}") from error


def _message_of(error: Exception) -> str:
    return str(error).removeprefix("nats: ") or type(error).__name__


def _tls(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


MEMBER: BrokerFactory = NatsBroker
