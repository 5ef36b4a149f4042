"""What the gateway's own code costs for each request, without sockets, so that a change can be judged on a noisy machine.

The lane's real protocol class, with everything behind it, between two transports that lead nowhere: requests are fed in as bytes, and so
are the upstream's answers. Times are given in steps of a loop that is timed around every sample: a slow moment slows both.

`python -m bench.lane [--calls | --profile] [--compiled] [--json] [--samples N]`
"""

import argparse
import asyncio
import cProfile
import gc
import json
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from bench.figures import percentile
from penstock.base import compiled

if TYPE_CHECKING:  # it imports the whole gateway, before which it must be known whether the compiled rooms are wanted
    from bench.harness import Lane

_CHUNKS = 40
_CALIBRATION_STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request, or of one chunk."""

    steps: float
    """Of the calibration loop: the lowest tenth of the samples, which the machine disturbed least."""
    steps_median: float
    best_us: float
    python_calls: int
    c_calls: int


def _calibrate() -> float:
    """Seconds for a step of a loop that adds, and makes and drops a small object."""
    began, total = time.thread_time(), 0
    for number in range(_CALIBRATION_STEPS):
        total += number
        [total]  # noqa: B018 - made only to be dropped
    return (time.thread_time() - began) / _CALIBRATION_STEPS


async def _sample(lane: "Lane", work: Callable[[], None], repeats: int, samples: int) -> list[tuple[float, float]]:
    """(seconds, seconds of a calibration step) for each sample."""
    found = []
    for _ in range(samples):
        before, began = _calibrate(), time.thread_time()
        for _ in range(repeats):
            work()
        took = (time.thread_time() - began) / repeats
        found.append((took, min(before, _calibrate())))
        await lane.settle()
    return found


@dataclass
class Calls:
    """What is called while it is installed as the profile function."""

    names: list[tuple[int, str]]
    python: int = 0
    c: int = 0
    depth: int = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self.names.append((self.depth, frame.f_code.co_qualname))
            self.python += 1
            self.depth += 1
        elif event == "return":
            self.depth -= 1
        elif event == "c_call":
            self.names.append((self.depth, f"[{getattr(argument, '__qualname__', argument)}]"))
            self.c += 1


def _calls(work: Callable[[], None]) -> Calls:
    """One of each kind is the harness's own: `work`, and the call that ends the counting."""
    work()
    counted = Calls([])
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


async def measure(lane: "Lane", samples: int, repeats: int) -> dict[str, Cost]:
    """A chunk's cost is the difference between a stream with chunks and one without."""

    def empty() -> None:
        lane.stream(0)

    def full() -> None:
        lane.stream(_CHUNKS)

    # As the gateway does when it begins to serve.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    unary = await _sample(lane, lane.unary, repeats, samples)
    without = await _sample(lane, empty, repeats, samples)
    with_chunks = await _sample(lane, full, max(repeats // 8, 1), samples)
    chunk = [((many - few) / _CHUNKS, (one + other) / 2) for (many, one), (few, other) in zip(with_chunks, without, strict=True)]
    calls, few, many = _calls(lane.unary), _calls(empty), _calls(full)
    return {
        "unary request": _cost(unary, calls.python, calls.c),
        "stream without chunks": _cost(without, few.python, few.c),
        "streamed chunk": _cost(chunk, round((many.python - few.python) / _CHUNKS), round((many.c - few.c) / _CHUNKS)),
    }


def _cost(samples: list[tuple[float, float]], python_calls: int, c_calls: int) -> Cost:
    steps = [took / step for took, step in samples]
    best = min(took for took, _ in samples) * 1e6
    return Cost(percentile(steps, 0.1), statistics.median(steps), best, python_calls, c_calls)


# telling


def _table(costs: dict[str, Cost]) -> str:
    lines = [f"{'':24}{'steps':>9}{'median':>9}{'best us':>9}{'Python calls':>14}{'C calls':>9}"]
    for name, cost in costs.items():
        numbers = f"{cost.steps:9.0f}{cost.steps_median:9.0f}{cost.best_us:9.2f}{cost.python_calls:14}{cost.c_calls:9}"
        lines.append(f"{name:24}{numbers}")
    return "\n".join(lines)


def _print_calls(title: str, counted: Calls) -> None:
    print(f"{title}: {counted.python} Python calls, {counted.c} C calls")
    print("\n".join(f"{'  ' * (depth + 1)}{name}" for depth, name in counted.names))


def _print_profile(lane: "Lane", repeats: int) -> None:
    profile = cProfile.Profile()
    with profile:
        for _ in range(repeats):
            lane.unary()
    pstats.Stats(profile).sort_stats("tottime").print_stats(60)


async def run(options: argparse.Namespace) -> None:
    from bench.harness import Lane

    with tempfile.TemporaryDirectory(prefix="penstock-lane-") as directory:
        lane = Lane(Path(directory))
        await lane.open()
        try:
            if options.calls:
                _print_calls("a unary request", _calls(lane.unary))
                _print_calls("a stream of one chunk", _calls(lambda: lane.stream(1)))
            elif options.profile:
                _print_profile(lane, options.samples * options.repeats)
            else:
                costs = await measure(lane, options.samples, options.repeats)
                print(json.dumps({name: asdict(cost) for name, cost in costs.items()}) if options.json else _table(costs))
        finally:
            await lane.close()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lane", description="The cost of the gateway's own code for each request.")
    parser.add_argument("--samples", type=int, default=60, metavar="N")
    parser.add_argument("--repeats", type=int, default=200, metavar="N", help="requests in a sample")
    parser.add_argument("--calls", action="store_true", help="print every call, as a tree")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--compiled", action="store_true", help="the compiled rooms (tools/compile.py) instead of the sources")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.compiled and not compiled.use():
        parser.error("nothing is compiled from these sources: run tools/compile.py")
    from bench.harness import Loop

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run(options))


if __name__ == "__main__":
    main()
