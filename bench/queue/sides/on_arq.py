"""arq on Redis, no results kept, looking for work every 10 ms (half a second unless it is told otherwise)."""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

import driver
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import func, run_worker

SETTINGS = RedisSettings.from_dsn(os.environ["BENCH_ADDRESS"])
_AT_ONCE = 100


async def noop(context: dict[str, Any], **words: Any) -> None:
    pass


async def beep(context: dict[str, Any], port: int) -> None:
    driver.beep(port)


class Worker:
    functions = (func(noop, keep_result=0), func(beep, keep_result=0))
    redis_settings = SETTINGS
    max_jobs = 100
    poll_delay = 0.01
    keep_result = 0


class Side:
    _pool: ArqRedis

    async def open(self) -> None:
        self._pool = await create_pool(SETTINGS)

    async def submit(self, payloads: Sequence[dict[str, Any]]) -> None:
        for begin in range(0, len(payloads), _AT_ONCE):
            await asyncio.gather(*(self._pool.enqueue_job("noop", **payload) for payload in payloads[begin : begin + _AT_ONCE]))

    async def submit_beep(self, port: int) -> None:
        await self._pool.enqueue_job("beep", port)

    async def left(self) -> int:
        return int(await self._pool.zcard("arq:queue"))  # a job stays in it until it is over

    async def close(self) -> None:
        await self._pool.aclose()


if sys.argv[1] == "drive":
    asyncio.run(driver.drive(Side()))
else:
    run_worker(Worker)
