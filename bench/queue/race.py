"""`python -m bench queue-race`: whole queues side by side, each with two workers that really run functions."""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.contenders import LeftOut
from bench.figures import Spread, percentile
from bench.processes import NotReady
from bench.queue.driving import Driver
from bench.queue.rivals import CONTENDERS, PENSTOCK, Contender, Place
from bench.section import Section, median, shown
from bench.stage import Options

_WARM, _STARTS = 300, 40
_ROWS = (("life", 0), ("enqueue", 0), ("start_p50", 1), ("start_p99", 1))


@dataclass
class Laps:
    """What one contender did, a number a round; None where it failed."""

    values: dict[str, list[float | None]] = field(default_factory=dict)

    def add(self, found: Mapping[str, float] | None) -> None:
        for name, _ in _ROWS:
            self.values.setdefault(name, []).append(None if found is None else found[name])

    def spread(self, name: str) -> Spread | None:
        return Spread.of([value for value in self.values.get(name, []) if value is not None])


def queue_race(options: Options) -> list[Section]:
    wanted = [name for name in CONTENDERS if not options.queues or any(part in name for part in options.queues)]
    laps: dict[str, Laps] = {name: Laps() for name in wanted}
    left_out: dict[str, str] = {}
    for number in range(1, options.rounds + 1):
        for name in [name for name in wanted if name not in left_out]:
            print(f"bench: round {number} of {options.rounds}: {name}", file=sys.stderr)
            try:
                laps[name].add(_lap(CONTENDERS[name], options))
            except LeftOut as problem:
                left_out[name] = str(problem)
            except (NotReady, ConnectionError, OSError) as problem:
                print(f"bench: {name}: {problem}", file=sys.stderr)
                laps[name].add(None)
    return [as_section({name: lap for name, lap in laps.items() if name not in left_out}, left_out, options)]


def _lap(contender: Contender, options: Options) -> dict[str, float]:
    """Everything is started for it, and stopped after it. Raises LeftOut, NotReady."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        place = Place(Path(folder), options.cache, options.postgres, options.penstock)
        with contender(place) as driver:
            return _measured(driver, options.tasks)


def _measured(driver: Driver, tasks: int) -> dict[str, float]:
    driver.wait_until_ready()
    driver.warm(_WARM)
    starts = driver.start(_STARTS)
    found = {"life": driver.life(tasks), "enqueue": driver.enqueue(tasks)}
    return found | {"start_p50": percentile(starts, 0.5), "start_p99": percentile(starts, 0.99)}


def as_section(laps: Mapping[str, Laps], left_out: Mapping[str, str], options: Options) -> Section:
    columns = ("", "tasks/s", "penstock ÷ it", "submitted/s", "start p50 ms", "start p99 ms")
    rows = tuple(_row(name, laps) for name in laps)
    figures = {f"queue_race_{name}_{key}": median(lap.spread(key)) for name, lap in laps.items() for key, _ in _ROWS}
    how = f"{options.tasks:,} tasks a measurement, starts: {_STARTS} tasks one at a time; "
    how += f"medians of {options.rounds} interleaved rounds, lowest and highest in brackets"
    notes = (how, *(f"without {name}: {why}" for name, why in left_out.items()))
    return Section("queue-race", "Queues side by side", columns, rows, {}, notes, {**figures, **dict.fromkeys([*laps, "queue-race"])})


def _row(name: str, laps: Mapping[str, Laps]) -> tuple[str, ...]:
    life, enqueue, p50, p99 = (shown(laps[name].spread(key), digits) for key, digits in _ROWS)
    return name, life, shown(ratio(laps, name), 2), enqueue, p50, p99


def ratio(laps: Mapping[str, Laps], name: str) -> Spread | None:
    """How many tasks Penstock on PostgreSQL does while the other one does one, within each round."""
    if PENSTOCK not in laps:
        return None
    pairs = zip(laps[PENSTOCK].values.get("life", []), laps[name].values.get("life", []), strict=True)
    return Spread.of([ours / theirs for ours, theirs in pairs if ours and theirs])
