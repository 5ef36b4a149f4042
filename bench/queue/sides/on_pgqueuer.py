"""pgqueuer on PostgreSQL through asyncpg: tasks in the worker's loop, jobs in batches both ways."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import asyncpg
import driver
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

ADDRESS = os.environ["BENCH_ADDRESS"]
_CLAIM = 100


class Side:
    async def open(self) -> None:
        self._connection = await asyncpg.connect(ADDRESS)
        self._queries = Queries(AsyncpgDriver(self._connection))

    async def submit(self, payloads: Sequence[dict[str, Any]]) -> None:
        count = len(payloads)
        await self._queries.enqueue(["noop"] * count, [json.dumps(payload).encode() for payload in payloads], [0] * count)

    async def submit_beep(self, port: int) -> None:
        await self._queries.enqueue("beep", str(port).encode())

    async def left(self) -> int:
        return int(await self._connection.fetchval("SELECT count(*) FROM pgqueuer"))

    async def close(self) -> None:
        await self._connection.close()


async def prepare() -> None:
    connection = await asyncpg.connect(ADDRESS)
    await Queries(AsyncpgDriver(connection)).install()
    await connection.close()


async def work() -> None:
    connection = await asyncpg.connect(ADDRESS)
    queuer = PgQueuer(AsyncpgDriver(connection))

    @queuer.entrypoint("noop")
    async def noop(job: Job) -> None:
        json.loads(job.payload or b"null")

    @queuer.entrypoint("beep")
    async def beep(job: Job) -> None:
        driver.beep(int(job.payload or b"0"))

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, queuer.shutdown.set)
    await queuer.run(batch_size=_CLAIM)


if sys.argv[1] == "drive":
    asyncio.run(driver.drive(Side()))
else:
    asyncio.run(prepare() if sys.argv[1] == "prepare" else work())
