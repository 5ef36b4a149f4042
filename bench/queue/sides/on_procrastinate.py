"""procrastinate on PostgreSQL: tasks in the worker's loop, many at a time, jobs deferred in batches."""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

import driver
from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_ADDRESS"], min_size=4, max_size=20))
_LEFT = "SELECT count(*) AS left FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
_CONCURRENCY = 50


@app.task(name="noop")
async def noop(**words: Any) -> None:
    pass


@app.task(name="beep")
async def beep(port: int) -> None:
    driver.beep(port)


class Side:
    async def open(self) -> None:
        await app.open_async()

    async def submit(self, payloads: Sequence[dict[str, Any]]) -> None:
        await noop.batch_defer_async(*payloads)

    async def submit_beep(self, port: int) -> None:
        await beep.defer_async(port=port)

    async def left(self) -> int:
        return int((await app.connector.execute_query_one_async(_LEFT))["left"])

    async def close(self) -> None:
        await app.close_async()


async def prepare() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def work() -> None:
    async with app.open_async():
        await app.run_worker_async(concurrency=_CONCURRENCY)


if sys.argv[1] == "drive":
    asyncio.run(driver.drive(Side()))
else:
    asyncio.run(prepare() if sys.argv[1] == "prepare" else work())
