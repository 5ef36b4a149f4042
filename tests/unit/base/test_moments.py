import asyncio

import pytest

from penstock.base.moments import Moment


async def test_condition_that_holds_already_needs_no_moment() -> None:
    await Moment().until(lambda: True, 0.001)


async def test_condition_is_looked_at_after_each_moment() -> None:
    moment, count = Moment(), 0

    async def act() -> None:
        nonlocal count
        for _ in range(3):
            count += 1
            moment.tell()
            await asyncio.sleep(0)

    acting = asyncio.create_task(act())
    await moment.until(lambda: count == 3)
    await acting


async def test_each_waiter_hears_the_same_moment() -> None:
    moment, done = Moment(), False
    waiting = [asyncio.create_task(moment.until(lambda: done)) for _ in range(2)]
    await asyncio.sleep(0)
    done = True
    moment.tell()
    await asyncio.gather(*waiting)


async def test_condition_that_never_holds_is_a_timeout() -> None:
    moment = Moment()
    with pytest.raises(TimeoutError):
        await moment.until(lambda: False, 0.001)
    moment.tell()
