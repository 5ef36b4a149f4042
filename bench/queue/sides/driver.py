"""What a driver does, whatever it submits to: `python on_RIVAL.py drive ADDRESS`, then a command a line, an answer a line in JSON.

warm N         N tasks, so that pools, caches and plans are there; answers when they are over
life N         seconds from the first submission until nothing is left of N tasks that do nothing
enqueue N      seconds until N tasks are acknowledged, then until nothing is left of them
start N        milliseconds of N tasks, one at a time: from the call that submits it until its function begins
"""

import asyncio
import json
import random
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

BATCH = 1000
"""Tasks in one call of the rival's for many tasks, where it has one."""
_LOOK_SECONDS = 0.02
_PATIENCE_SECONDS = 120.0
_IDLE_SECONDS = (0.03, 0.08)
_STAMP = struct.Struct("d")


class Side(Protocol):
    """A rival, as its documentation says that many tasks are submitted to it."""

    async def open(self) -> None: ...

    async def submit(self, payloads: Sequence[dict[str, Any]]) -> None:
        """Tasks that do nothing; returns when they are as durable as this setting makes them."""
        ...

    async def submit_beep(self, port: int) -> None:
        """One task that calls `beep`."""
        ...

    async def left(self) -> int:
        """How many are waiting or running."""
        ...

    async def close(self) -> None: ...


def beep(port: int) -> None:
    """Inside a task: tell the driver that it has begun, and when (the monotonic clock is the machine's)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(_STAMP.pack(time.monotonic()), ("127.0.0.1", port))


def payloads(count: int) -> list[dict[str, Any]]:
    return [{"number": number, "text": f"hundredth{number % 100} tenthousandth{number % 10_000} of many tasks"} for number in range(count)]


async def submit_all(side: Side, count: int) -> None:
    given = payloads(count)
    for begin in range(0, count, BATCH):
        await side.submit(given[begin : begin + BATCH])


async def nothing_left(side: Side) -> None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while await side.left():
        if time.monotonic() > give_up:
            raise TimeoutError("tasks are left after two minutes")
        await asyncio.sleep(_LOOK_SECONDS)


async def life(side: Side, count: int) -> float:
    began = time.perf_counter()
    await submit_all(side, count)
    await nothing_left(side)
    return time.perf_counter() - began


async def enqueue(side: Side, count: int) -> float:
    began = time.perf_counter()
    await submit_all(side, count)
    seconds = time.perf_counter() - began
    await nothing_left(side)
    return seconds


async def start(side: Side, count: int) -> list[float]:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        ear.setblocking(False)
        found = []
        for _ in range(count):
            await asyncio.sleep(random.uniform(*_IDLE_SECONDS))
            began = time.monotonic()
            await side.submit_beep(ear.getsockname()[1])
            async with asyncio.timeout(_PATIENCE_SECONDS):
                heard = await loop.sock_recv(ear, _STAMP.size)
            found.append((_STAMP.unpack(heard)[0] - began) * 1000)
            await nothing_left(side)
        return found


_COMMANDS: dict[str, Callable[[Side, int], Any]] = {"warm": life, "life": life, "enqueue": enqueue, "start": start}


async def drive(side: Side) -> None:
    """Until its input ends."""
    loop = asyncio.get_running_loop()
    await side.open()
    print(json.dumps("ready"), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command, number = line.split()
        print(json.dumps(await _COMMANDS[command](side, int(number))), flush=True)
    await side.close()
