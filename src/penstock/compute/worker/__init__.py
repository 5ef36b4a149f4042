"""The process beside the accelerator: serves an engine to gateways that know its secret, and keeps itself known to one."""

import asyncio
import os
import sys

import structlog

from penstock.base.stop_signals import stop_signals
from penstock.compute.worker.process import Worker, WorkerPlan

__all__ = ["Worker", "WorkerPlan", "run"]


async def run(plan: WorkerPlan) -> int:
    """A worker from start to exit status: 0 after a drain (SIGTERM, SIGINT), 1 when the gateway refuses it.

    Raises what `Worker.open` raises. A signal during the start gives the start up; a second one ends the process at once.
    """
    _log_to_stderr()
    worker = Worker(plan)
    stop = _stop_signal()
    if not await _opened(worker, stop):
        return 0
    try:
        return await _until_stopped(worker, stop)
    finally:
        await worker.close()


async def _opened(worker: Worker, stop: asyncio.Event) -> bool:
    """False: stopped before it was open. A model may take minutes to fetch and load, and a stop does not wait for that."""
    opening, stopped = asyncio.create_task(worker.open()), asyncio.create_task(stop.wait())
    await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not opening.done():
        structlog.get_logger().info("stopped during the start")
        opening.cancel()
        await asyncio.wait({opening})
    if opening.cancelled():
        return False
    opening.result()
    return True


async def _until_stopped(worker: Worker, stop: asyncio.Event) -> int:
    waiting: set[asyncio.Task[object]] = {asyncio.create_task(stop.wait())}
    if worker.agent_task is not None:
        waiting.add(worker.agent_task)
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    log = structlog.get_logger()
    if worker.agent_task in done:
        error = worker.agent_task.exception()
        log.error("join_refused", reason=str(error))
        return 1
    log.info("draining")
    await worker.drain()
    return 0


def _stop_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the second ends the process."""
    stop = asyncio.Event()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, on_signal, number)
    return stop


def _log_to_stderr() -> None:
    """Unless the starter of the process has set up logging: stdout belongs to data."""
    if not structlog.is_configured():
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
