"""dramatiq on Redis: one process with its eight threads for each worker; no results, no Prometheus. It acknowledges when a task is over."""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

import dramatiq
import driver
from dramatiq.brokers.redis import RedisBroker

broker = RedisBroker(url=os.environ["BENCH_ADDRESS"])
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(**words: Any) -> None:
    pass


@dramatiq.actor
def beep(port: int) -> None:
    driver.beep(port)


class Side:
    async def open(self) -> None:
        pass

    async def submit(self, payloads: Sequence[dict[str, Any]]) -> None:
        for payload in payloads:
            noop.send_with_options(kwargs=payload)

    async def submit_beep(self, port: int) -> None:
        beep.send(port)

    async def left(self) -> int:
        return int(broker.client.hlen("dramatiq:default.msgs"))  # a message stays in it until it is acknowledged

    async def close(self) -> None:
        broker.close()


if len(sys.argv) > 1 and sys.argv[1] == "drive":
    asyncio.run(driver.drive(Side()))
