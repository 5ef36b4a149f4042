"""`penstock stream` as a process that can be killed, and brokers as other people's programs see them."""

import asyncio
import json
import select
import signal
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from tests.live.platform import Control, Platform, eventually, start
from tests.support import brokers

T = TypeVar("T")
MODULE = "tests.live.processes.streams.work_of_users"
READY_SECONDS = 90.0
Messages = list[tuple[dict[str, str], bytes]]
"""Headers and value of each message."""


class BrokerClient(Protocol):
    """A broker as other programs see it, through its own client library. Topics are made as they are used."""

    name: str

    def flags(self) -> list[str]: ...

    def topic(self, name: str) -> str: ...

    def put(self, topic: str, values: Sequence[bytes]) -> None: ...

    def all(self, topic: str) -> Messages:
        """Everything that is there, in no order that means anything."""
        ...


class KafkaClient:
    name = "kafka"

    def __init__(self, address: str) -> None:
        self._address = address

    def flags(self) -> list[str]:
        # A broker's least: what a killed process had is read by the next one only then.
        return ["--broker", "kafka", "--server", self._address, "--option", "session.timeout.ms=6000"]

    def topic(self, name: str) -> str:
        return name

    def put(self, topic: str, values: Sequence[bytes]) -> None:
        producer = Producer({"bootstrap.servers": self._address, "log_level": 0})
        for value in values:
            producer.produce(topic, value)
        assert producer.flush(20) == 0

    def all(self, topic: str) -> Messages:
        consumer = Consumer({"bootstrap.servers": self._address, "group.id": "outside", "enable.auto.commit": False, "log_level": 0})
        try:
            partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
            end_offsets = {
                partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1] for partition in partitions
            }
            consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
            found: Messages = []
            eventually(lambda: _more(consumer, found) >= sum(end_offsets.values()), 30)
            return found
        finally:
            consumer.close()


def _more(consumer: Consumer, found: Messages) -> int:
    for message in consumer.consume(1_000, 0.2):
        if message.error() is None:
            headers: Any = message.headers() or []
            found.append(({name: value.decode() for name, value in headers}, message.value() or b""))
    return len(found)


class NatsClient:
    name = "nats"

    def __init__(self, url: str, stream: str) -> None:
        self._url = url
        self._stream = stream

    def flags(self) -> list[str]:
        return ["--broker", "nats", "--server", self._url]

    def topic(self, name: str) -> str:
        return f"{self._stream}.{name}"

    def put(self, topic: str, values: Sequence[bytes]) -> None:
        async def publish() -> None:
            async with brokers.jetstream(self._url) as js:
                for begin in range(0, len(values), 500):
                    await asyncio.gather(*(js.publish(topic, value) for value in values[begin : begin + 500]))

        in_own_loop(publish())

    def all(self, topic: str) -> Messages:
        async def read() -> Messages:
            async with brokers.jetstream(self._url) as js:
                state = (await js.stream_info(self._stream)).state
                messages = [await js.get_msg(self._stream, seq) for seq in range(state.first_seq, state.last_seq + 1)]
                return [(message.headers or {}, message.data or b"") for message in messages if message.subject == topic]

        return in_own_loop(read())


def in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner() as runner:
        return runner.run(work)


class StreamProcess:
    """`penstock stream`, for one platform."""

    def __init__(self, platform: Platform, directory: Path, *flags: str, name: str = "live", process: str = "one") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        # Other processes of the same stream need a state directory of their own.
        self._state = directory / f"state-{process}"
        self._command = ["stream", "--json", "--name", name, "--state-dir", str(self._state), *flags]
        self._platform = platform
        self._process: subprocess.Popen[bytes] | None = None
        self.log = directory / f"stream-{process}.log"
        self.facts: dict[str, str] = {}

    def open(self, *flags: str, ready: bool = True) -> None:
        # Few in flight: what a killed process held comes again only when the broker has given it up.
        own = {
            "PENSTOCK_STREAM__IN_FLIGHT": "200",
            "PENSTOCK_BASE_URL": self._platform.base_url,
            "PENSTOCK_API_KEY": self._platform.api_key,
        }
        self._process = start(self.log, [*self._command, *flags], {**self._platform.environment, **own})
        if ready:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], READY_SECONDS)
        line = self._process.stdout.readline() if readable else b""
        assert line, f"the stream did not become ready:\n{self.log.read_text()[-3000:]}"
        self.facts = json.loads(line)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def close(self) -> int:
        """SIGTERM; the exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=150)
        return process.returncode

    def wait(self) -> int:
        """Wait until it ends by itself; the exit code."""
        process, self._process = self._process, None
        assert process is not None
        process.communicate(timeout=150)
        return process.returncode


@contextmanager
def ended(*streams: StreamProcess) -> Iterator[None]:
    """Stop all of them, however the test ends."""
    try:
        yield
    finally:
        for stream in streams:
            stream.close()


@contextmanager
def streaming(*streams: StreamProcess) -> Iterator[None]:
    try:
        for stream in streams:
            stream.open()
        yield
    finally:
        codes = [stream.close() for stream in streams]
    assert codes == [0] * len(streams), [stream.log.read_text()[-2000:] for stream in streams]


def tasks(control: Control, name: str = "live") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = control.get(f"/api/tasks?tag=stream:{name}&limit=1000{after}")
        found += page["data"]
        if page["after"] is None:
            return found
        after = f"&after={page['after']}"


def made(control: Control, name: str = "live") -> int:
    total: int = control.get(f"/api/tasks?tag=stream:{name}&limit=1&total=true")["total"]
    return total


def succeeded(control: Control, name: str = "live") -> int:
    total: int = control.get(f"/api/tasks?tag=stream:{name}&status=succeeded&limit=1&total=true")["total"]
    return total


def results(control: Control, found: list[dict[str, Any]]) -> list[Any]:
    """Of all of them, which are over."""
    values = []
    left = [task["id"] for task in found]
    while left:
        answer = control.post("/api/tasks/results", {"ids": left[:1000]})
        values += [each["result"] for each in answer["data"]]
        left = answer["left"] + left[1000:]
    return values


def assert_each_once(control: Control, number: int, name: str = "live") -> None:
    """The oracle: the counts that were put into the topic, and those that tasks were made of."""
    found = tasks(control, name)
    keys = Counter(task["idempotency_key"] for task in found)
    assert (len(found), len(keys)) == (number, number)
    assert sorted(results(control, found)) == list(range(number))


def outcomes(found: Messages) -> dict[str, Any]:
    """Published results by message id; repetitions have to be equal."""
    told: dict[str, Any] = {}
    for headers, value in found:
        outcome = json.loads(value)
        assert told.setdefault(headers["penstock-message-id"], outcome) == outcome
    return told


def metrics(port: int) -> dict[str, float]:
    """By name, without what all of them begin with."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith("penstock_stream_")]
    return {
        line.partition("{")[0].removeprefix("penstock_stream_").removesuffix("_total"): float(line.rpartition(" ")[2]) for line in lines
    }
