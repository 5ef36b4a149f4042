"""Real brokers for tests: librdkafka's own over TCP, the NATS server that listens on this machine, and one that can be stopped."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import nats
from confluent_kafka import Producer
from nats.js import JetStreamContext

from tests.live.platform import eventually
from tests.support.postgres import absent

NATS_PORT = 4222


@contextmanager
def kafka() -> Iterator[str]:
    """The address of a broker that speaks Kafka's protocol: librdkafka has one in it, which other processes reach over TCP."""
    keeper = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 0})
    try:
        brokers = keeper.list_topics(timeout=10).brokers.values()
        yield ",".join(f"{each.host}:{each.port}" for each in brokers)
    finally:
        keeper.flush(1)


def nats_url() -> str:
    """Of the server on 127.0.0.1:4222. Skips the test when there is none, or fails it where one is promised (CI=true)."""
    if not listens(NATS_PORT):
        absent(f"no NATS server on 127.0.0.1:{NATS_PORT}")
    return f"nats://127.0.0.1:{NATS_PORT}"


@asynccontextmanager
async def jetstream(url: str) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(url, connect_timeout=5)
    try:
        yield client.jetstream()
    finally:
        await client.close()


@asynccontextmanager
async def nats_stream(url: str) -> AsyncIterator[str]:
    """A stream of the test's own with every subject below its name; deleted at the end."""
    name = await add_nats_stream(url)
    try:
        yield name
    finally:
        await delete_nats_stream(url, name)


async def add_nats_stream(url: str) -> str:
    """Returns its name."""
    name = f"streams_test_{os.getpid()}_{secrets.token_hex(4)}"
    async with jetstream(url) as js:
        await js.add_stream(name=name, subjects=[f"{name}.>"])
    return name


async def delete_nats_stream(url: str, name: str) -> None:
    async with jetstream(url) as js:
        await js.delete_stream(name)


class NatsServer:
    """One that can be stopped and started; it keeps its port and its streams."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
        if program is None:
            absent("there is no nats-server (on Debian: apt-get install nats-server)")
        self._directory = directory
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._command = [
            program,
            "-js",
            "-a",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-sd",
            str(directory / "store"),
            "-l",
            str(directory / "log"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(self._command)
        eventually(lambda: listens(self.port), 20)

    def close(self, number: signal.Signals = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


async def soon(call: Any, seconds: float = 20.0) -> Any:
    """The first true answer of a coroutine function that waits by itself."""
    async with asyncio.timeout(seconds):
        while not (answer := await call()):
            pass
    return answer
