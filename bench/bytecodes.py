"""How many instructions of Python's own machine a request takes, interpreted: the same on every machine and under any load.

What C functions do is not in it, so it is no time; but of two versions of the same code it tells which does more. To count an older
version, copy this file into the `bench/` of its checkout. `python -m bench.bytecodes [--json]`
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_CHUNKS = 40
_WARM = 50


class Counter:
    """Counts while it is the trace function."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> "Counter":
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.count += event == "opcode"
        return self


def count(work: Callable[[], None]) -> int:
    for _ in range(_WARM):
        work()
    counter = Counter()
    sys.settrace(counter)
    try:
        work()
    finally:
        sys.settrace(None)
    return counter.count


async def measure() -> dict[str, int]:
    from bench.harness import Lane

    with tempfile.TemporaryDirectory(prefix="penstock-bytecodes-") as directory:
        lane = Lane(Path(directory))
        await lane.open()
        try:
            whole = count(lane.unary)
            await lane.settle()
            return {"unary request": whole, f"stream of {_CHUNKS} chunks": count(lambda: lane.stream(_CHUNKS))}
        finally:
            await lane.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.bytecodes", description="Python's instructions for each request.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ["PENSTOCK_INTERPRETED"] = "1"
    from bench.harness import Loop

    with asyncio.Runner(loop_factory=Loop) as runner:
        found = runner.run(measure())
    print(json.dumps(found) if options.json else "\n".join(f"{name:24}{number:8}" for name, number in found.items()))


if __name__ == "__main__":
    main()
