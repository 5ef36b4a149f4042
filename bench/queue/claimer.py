"""A process that claims and ends tasks at a PostgreSQL store until there are none: `python -m bench.queue.claimer URL RUNNER`.

It says that it is ready, waits for a line, and then says how many it had.
"""

import asyncio
import sys

import uvloop

from bench.queue.work import claim_and_end, opened, register


async def work(url: str, runner: str) -> None:
    async with opened(url) as store:
        await register(store.tasks, runner)
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        print(await claim_and_end(store.tasks, runner), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(work(sys.argv[1], sys.argv[2]))
