"""Faults on demand."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from penstock.compute.worker.faults import CRASH_STATUS, GARBAGE, Fault, Faults
from penstock.domain.ports.engine import Answer


class Left(Exception):
    """What a test's process does in place of ending."""


def leave(status: int) -> None:
    raise Left(status)


async def stream() -> AsyncGenerator[bytes, None]:
    yield b"data: 1\n\ndata: 2\n\n"
    yield b"data: 3\n\n"


async def streamed() -> Answer:
    return Answer(200, [], stream())


async def whole() -> Answer:
    return Answer(200, [], b"{}")


async def read(answer: Answer) -> list[bytes]:
    return [answer.body] if isinstance(answer.body, bytes) else [chunk async for chunk in answer.body]


def test_fault_strikes_as_many_requests_as_its_count() -> None:
    faults = Faults()
    assert faults.next() is None
    faults.set(Fault("hang", count=2))
    assert [faults.next() is not None for _ in range(3)] == [True, True, False]
    faults.set(Fault("hang", count=5))
    faults.set(Fault("hang", count=0))
    assert faults.next() is None


async def test_garbage_before_and_in_the_middle() -> None:
    faults = Faults()
    assert await read(await faults.strike(Fault("garbage"), streamed)) == [GARBAGE]
    assert await read(await faults.strike(Fault("garbage"), whole)) == [GARBAGE]
    assert await read(await faults.strike(Fault("garbage", after_events=1), streamed)) == [b"data: 1\n\n", GARBAGE]


async def test_crash_fault_lets_through_its_events_and_no_more() -> None:
    faults = Faults(leave)
    with pytest.raises(Left, match=str(CRASH_STATUS)):
        await faults.strike(Fault("crash"), streamed)
    answer = await faults.strike(Fault("crash", after_events=2), streamed)
    assert not isinstance(answer.body, bytes)
    assert [await anext(answer.body), await anext(answer.body)] == [b"data: 1\n\n", b"data: 2\n\n"]
    with pytest.raises(Left):
        await anext(answer.body)


async def test_hang_fault_sends_nothing_more() -> None:
    answer = await Faults().strike(Fault("hang", after_events=1), streamed)
    assert not isinstance(answer.body, bytes)
    assert await anext(answer.body) == b"data: 1\n\n"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await anext(answer.body)


async def test_slow_fault_delays_a_complete_answer() -> None:
    faults = Faults()
    loop = asyncio.get_running_loop()
    started = loop.time()
    answer = await faults.strike(Fault("slow", seconds=0.02), streamed)
    assert await read(answer) == [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]
    assert loop.time() - started >= 4 * 0.02 - 0.005
    assert await read(await faults.strike(Fault("slow", seconds=0.0), whole)) == [b"{}"]
