"""`python -m bench.overload`: load after load on real processes, judged and written down. Takes about four minutes."""

import argparse
import json
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.machine import ROOT, provenance
from bench.overload import report, runs, traffic
from bench.overload.goals import Judgement, Run, judge
from bench.overload.platform import Sim
from bench.processes import NotReady

OBSERVATIONS = Path(__file__).with_name("observations.md")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description="Overload on real processes. Loopback only; needs Linux.")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="Azure's LLM inference trace (CSV); without it, one of its statistics")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="for each phase [20]")
    parser.add_argument("--penstock", type=Path, default=Path(sys.executable).with_name("penstock"), metavar="PATH", help="another build")
    parser.add_argument("--write", type=Path, metavar="DIR", help="write overload.md and its plots there")
    parser.add_argument("--json", action="store_true", help="one line of JSON on standard output")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal was missed or the run is void")
    return parser


def measure(penstock: Path, sim: Sim, trace: Path | None, seconds: float) -> Run:
    given = traffic.trace(trace)
    source = "Azure's LLM inference trace of 2023 (conversation)" if trace else "drawn with the medians and the spread of Azure's trace"
    _say("load after load")
    capacity, phases, steps, queues = runs.loads(penstock, sim, given, seconds)
    _say(f"capacity {capacity:.1f} requests/s; a noisy tenant")
    calm, noisy = runs.noise(penstock, sim, given, capacity, seconds)
    _say("every upstream fails")
    outage, amplification = runs.outage(penstock, given)
    return Run(capacity, phases, steps, queues, calm, noisy, outage, amplification, seconds, source)


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = make_parser().parse_args(arguments)
    # What was started must be stopped, also when we are asked to stop in the middle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    trace, write, penstock = (path and path.absolute() for path in (parsed.trace, parsed.write, parsed.penstock))
    os.chdir(ROOT)
    sim = Sim()
    try:
        run = measure(penstock, sim, trace, parsed.seconds)
    except NotReady as problem:
        _say(str(problem))
        return 1
    judgement = judge(run)
    if write is not None:
        flags = ["--trace FILE"] if trace else []
        command = " ".join(["python -m bench.overload", *flags, f"--seconds {parsed.seconds:g}", "--write docs/reports"])
        _write(write, run, judgement, sim, command)
    _print(judgement, as_json=parsed.json)
    missed = judgement.void or not all(goal.passed for goal in judgement.goals)
    return 1 if parsed.strict and missed else 0


def _write(folder: Path, run: Run, judgement: Judgement, sim: Sim, command: str) -> None:
    observations = OBSERVATIONS.read_text() if OBSERVATIONS.exists() else ""
    text, plots = report.page(run, judgement, sim, command, provenance(command, ()).line, observations)
    (folder / "overload").mkdir(parents=True, exist_ok=True)
    (folder / "overload.md").write_text(text)
    for name, plot in plots.items():
        (folder / "overload" / name).write_text(plot)


def _print(judgement: Judgement, *, as_json: bool) -> None:
    if as_json:
        goals = [
            {"name": g.name, "passed": g.passed, "measured": None if math.isnan(g.measured) else g.measured, "required": g.required}
            for g in judgement.goals
        ]
        print(json.dumps({"checks": goals, "void": list(judgement.void)}))
        return
    for goal in judgement.goals:
        print(f"{'met   ' if goal.passed else 'MISSED'}  {goal.name}: {goal.measured:.4g} ({goal.required})")
    for doubt in judgement.void:
        print(f"VOID    {doubt}")


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
