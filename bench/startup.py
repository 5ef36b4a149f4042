"""How long one waits: until a gateway is ready, and for `penstock --help`."""

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.contenders import PENSTOCK, LeftOut
from bench.figures import Spread
from bench.processes import clean_environment, running
from bench.section import Section, median, shown
from bench.stage import Options, opened


def startup(options: Options) -> Section:
    """Each start is the first one of a new data directory: with migrations, first keys and passwords."""
    if not options.penstock.exists():
        return section((), (), (), (f"{PENSTOCK} was left out: there is no {options.penstock.name} beside this Python",))
    with opened(options) as stage, tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
        alone, workers, helped = [], [], []
        for number in range(options.rounds):
            try:
                with stage.started(PENSTOCK) as gateway:
                    alone.append(gateway.seconds_to_ready)
            except LeftOut as problem:
                return section((), (), (), (str(problem),))
            workers.append(_with_workers(options.penstock, Path(directory) / str(number)))
            helped.append(_help(options.penstock))
    return section(alone, workers, helped, ())


def _with_workers(penstock: Path, directory: Path) -> float:
    """Until both workers have joined and the address is printed."""
    directory.mkdir()
    command = [str(penstock), "up", "--json", "--port", "0", "--no-discover", "--data-dir", str(directory / "data")]
    profile = {"PENSTOCK_PROFILE": str(directory / "profiles.toml")}
    began = time.perf_counter()
    with running(command, directory / "log", announces=True, environment=profile, directory=directory) as process:
        json.loads(process.line())
        return time.perf_counter() - began


def _help(penstock: Path) -> float:
    began = time.perf_counter()
    subprocess.run([penstock, "--help"], stdout=subprocess.DEVNULL, env=clean_environment(), check=True)
    return time.perf_counter() - began


def section(alone: Sequence[float], workers: Sequence[float], helped: Sequence[float], notes: tuple[str, ...]) -> Section:
    waits = {
        "ready_s": ("`penstock up` until ready, one upstream", Spread.of(alone)),
        "ready_workers_s": ("`penstock up` until ready, two simulated workers", Spread.of(workers)),
        "help_s": ("`penstock --help`", Spread.of(helped)),
    }
    rows = tuple((name, shown(spread, 2)) for name, spread in waits.values())
    figures = {key: median(spread) for key, (_, spread) in waits.items()}
    return Section("startup", "Start-up", ("", "seconds"), rows, figures, notes, dict(figures))
