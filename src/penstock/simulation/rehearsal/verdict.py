"""A pass line, and whether it was met."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Literal

from penstock.simulation.rehearsal.figures import Interval, interval

Over = Literal["mean", "every"]


@dataclass(frozen=True, slots=True)
class PassLine:
    """What a figure of a scenario must be. `over`: the mean of all seeds must be so, or every seed's."""

    name: str
    figure: str
    sign: Literal["<=", "<", ">=", ">", "="]
    bound: float
    over: Over = "mean"

    @property
    def required(self) -> str:
        return f"{self.sign} {self.bound:g}" + (" in every seed" if self.over == "every" else "")

    def judge(self, figures: Mapping[str, Interval]) -> "PassLineCheck":
        found = figures[self.figure]
        measured = found.mean
        if self.over == "every":
            measured = found.worst if self.sign in {"<=", "<"} else found.least
            if self.sign == "=":
                measured = max(found.worst, found.least, key=lambda value: abs(value - self.bound))
        return PassLineCheck(self.name, _MEETS[self.sign](measured, self.bound), measured, self.required, found)


_MEETS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": lambda value, bound: value <= bound,
    "<": lambda value, bound: value < bound,
    ">=": lambda value, bound: value >= bound,
    ">": lambda value, bound: value > bound,
    "=": lambda value, bound: value == bound,
}


@dataclass(frozen=True, slots=True)
class PassLineCheck:
    name: str
    passed: bool
    measured: float
    required: str
    found: Interval

    def as_dict(self) -> dict[str, object]:
        """nan, which JSON does not have, becomes null."""
        measured = None if math.isnan(self.measured) else round(self.measured, 6)
        return {"name": self.name, "passed": self.passed, "measured": measured, "required": self.required}


@dataclass(frozen=True, slots=True)
class Scenario:
    """Traffic and faults that are rehearsed together, and what is asked of them."""

    name: str
    title: str
    about: str
    """For the report: what happens, with the numbers that matter."""
    measure: Callable[..., Mapping[str, float]]
    """(seed, brief) -> figures by name; brief: a shorter one, for a quick look."""
    lines: tuple[PassLine, ...] = ()
    draw: Callable[[], str] | None = None
    """A plot (SVG) of one run of its own, over time; None: the report plots figures."""


@dataclass(frozen=True, slots=True)
class ScenarioFinding:
    """A scenario over all its seeds."""

    scenario: Scenario
    seeds: int
    figures: Mapping[str, Interval]
    checks: tuple[PassLineCheck, ...]


def rehearse(scenario: Scenario, seeds: Sequence[int], *, brief: bool = False, jobs: int = 1) -> ScenarioFinding:
    """The seeds in so many processes."""
    measured = _measured(scenario, seeds, brief, min(jobs, len(seeds)))
    names = list(dict.fromkeys(name for one in measured for name in one))
    figures = {name: interval([one[name] for one in measured if not math.isnan(one.get(name, math.nan))] or [math.nan]) for name in names}
    return ScenarioFinding(scenario, len(seeds), figures, tuple(line.judge(figures) for line in scenario.lines))


def _measured(scenario: Scenario, seeds: Sequence[int], brief: bool, jobs: int) -> list[Mapping[str, float]]:
    if jobs < 2:
        return [scenario.measure(seed, brief) for seed in seeds]
    # Forked: a child has the scenario, and the traffic that it may hold, without being sent them.
    _for_children[:] = [partial(scenario.measure, brief=brief)]
    with get_context("fork").Pool(jobs) as pool:
        return pool.map(_one_seed, seeds, chunksize=1)


_for_children: list[Callable[[int], Mapping[str, float]]] = []


def _one_seed(seed: int) -> Mapping[str, float]:
    return _for_children[0](seed)
