"""Whether a change costs anything: `bench.lane` in two trees of sources, turn by turn, and the ratio of what they need with an interval.

`python -m bench.pairs --against DIR [--other-python PATH] [--compiled] [--pairs N] [--json]`
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import ROOT
from penstock.simulation.rehearsal.figures import Interval, interval

KINDS = ("unary request", "stream without chunks", "streamed chunk")


@dataclass(frozen=True, slots=True)
class Tree:
    root: Path
    """With `src/` and `bench/`."""
    python: Path
    compiled: bool

    def cost(self, samples: int) -> dict[str, float]:
        """Steps of the calibration loop, by kind. Raises CalledProcessError."""
        command = [str(self.python), "-m", "bench.lane", "--json", "--samples", str(samples), *(["--compiled"] if self.compiled else [])]
        environment = os.environ | {"PYTHONPATH": f"{self.root / 'src'}{os.pathsep}{self.root}"}
        told = subprocess.run(command, cwd=self.root, env=environment, check=True, capture_output=True, text=True)
        found = json.loads(told.stdout.splitlines()[-1])
        return {kind: float(found[kind]["steps"]) for kind in KINDS}


def ratios(ours: Tree, theirs: Tree, pairs: int, samples: int) -> dict[str, Interval]:
    """What this tree needs over what the other one does; who begins changes from pair to pair."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(pairs):
        if number % 2:
            own, other = ours.cost(samples), theirs.cost(samples)
        else:
            other, own = theirs.cost(samples), ours.cost(samples)
        for kind in KINDS:
            found[kind].append(own[kind] / other[kind])
        print(f"bench: pair {number + 1}: {found[KINDS[0]][-1]:.3f}", file=sys.stderr, flush=True)
    return {kind: interval(values) for kind, values in found.items()}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.pairs", description="The cost of a request in two trees of sources.")
    parser.add_argument("--against", type=Path, required=True, metavar="DIR", help="a checkout of the other version")
    parser.add_argument("--other-python", type=Path, default=Path(sys.executable), metavar="PATH", help="its interpreter [this one]")
    parser.add_argument("--compiled", action="store_true", help="the compiled rooms of both; each then needs an environment of its own")
    parser.add_argument("--pairs", type=int, default=12, metavar="N")
    parser.add_argument("--samples", type=int, default=40, metavar="N", help="of each kind, in each run")
    parser.add_argument("--json", action="store_true")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = make_parser().parse_args(arguments)
    ours = Tree(ROOT, Path(sys.executable), parsed.compiled)
    theirs = Tree(parsed.against.absolute(), parsed.other_python.absolute(), parsed.compiled)
    try:
        found = ratios(ours, theirs, parsed.pairs, parsed.samples)
    except subprocess.CalledProcessError as problem:
        print(problem.stderr[-2000:], file=sys.stderr)
        return 1
    if parsed.json:
        print(json.dumps({kind: {"ratio": one.mean, "half": one.half} for kind, one in found.items()}))
        return 0
    for kind, one in found.items():
        print(f"{kind:24}{one.mean:7.3f} ± {one.half:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
