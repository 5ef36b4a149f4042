"""Celery on Redis, no results; durable: late acknowledgement. Prefetching as its page on optimizing says for tasks that take no time."""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

import driver
import redis
from celery import Celery

ADDRESS, DURABLE = os.environ["BENCH_ADDRESS"], os.environ["BENCH_DURABLE"] == "1"
app = Celery("on_celery", broker=ADDRESS)
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=128,
    task_acks_late=DURABLE,
    task_reject_on_worker_lost=DURABLE,
    worker_hijack_root_logger=False,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
)


@app.task(name="noop")
def noop(**words: Any) -> None:
    pass


@app.task(name="beep")
def beep(port: int) -> None:
    driver.beep(port)


class Side:
    async def open(self) -> None:
        self._redis = redis.Redis.from_url(ADDRESS)
        self._producer = app.amqp.Producer(app.connection_for_write(), auto_declare=False)

    async def submit(self, payloads: Sequence[dict[str, Any]]) -> None:
        for payload in payloads:
            noop.apply_async(kwargs=payload, producer=self._producer)

    async def submit_beep(self, port: int) -> None:
        beep.apply_async(args=(port,), producer=self._producer)

    async def left(self) -> int:
        # A message leaves the list for the hash of the unacknowledged in two steps, so the hash is looked at on both sides of it.
        return self._redis.hlen("unacked") + self._redis.llen("celery") + self._redis.hlen("unacked")

    async def close(self) -> None:
        self._redis.close()


if sys.argv[1] == "drive":
    asyncio.run(driver.drive(Side()))
else:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", "--concurrency=1", "--loglevel=ERROR", f"--hostname={os.getpid()}@bench", *quiet])
