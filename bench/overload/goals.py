"""What the platform must do under overload, and whether a run may be believed at all."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.overload import figures
from bench.overload.figures import Phase
from penstock.rehearsal.figures import quantile

_LATEST_SECONDS, _BUSIEST = 0.02, 0.7
WARM_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that was measured."""

    capacity: float
    loads: Sequence[Phase]
    step: Phase
    calm: Phase
    noisy: Phase
    outage: Phase
    amplification: float
    seconds: float
    source: str

    def load(self, name: str) -> Phase:
        return next(phase for phase in self.loads if phase.name == name)

    @property
    def phases(self) -> list[Phase]:
        return [*self.loads, self.step, self.calm, self.noisy, self.outage]


@dataclass(frozen=True, slots=True)
class Goal:
    name: str
    passed: bool
    measured: float
    required: str


@dataclass(frozen=True, slots=True)
class Judgement:
    goals: tuple[Goal, ...]
    void: tuple[str, ...] = field(default=())
    """Why the run may not be believed; empty: it may."""


def good(phase: Phase) -> float:
    return figures.goodput(phase.hits, WARM_SECONDS, phase.seconds)


def judge(run: Run) -> Judgement:
    peak = max(good(phase) for phase in run.loads)
    ten, five = good(run.load("10x")) / peak, figures.success(figures.of(run.load("5x").hits, "enterprise"))
    refusals = quantile([seconds for phase in run.loads for seconds in figures.at_once(phase.hits)], 0.99)
    settled = figures.settled_after(run.step.hits, run.seconds / 2, run.seconds)
    others = _others(run.noisy) / _others(run.calm)
    goals = (
        Goal("goodput at 10x over its peak", ten >= 0.9, ten, ">= 0.9"),
        Goal("enterprise success at 5x", five >= 0.999, five, ">= 0.999"),
        Goal("p99 of refusals on arrival, ms", refusals <= 0.02, refusals * 1000, "<= 20"),
        Goal("settled after a step from 0.5x to 10x, s", settled <= 1.0, settled, "<= 1"),
        Goal("others' p99 beside a tenant at 50x, over calm", others <= 1.2, others, "<= 1.2"),
        Goal("attempts for each request, every upstream failing", run.amplification <= 1.2, run.amplification, "<= 1.2"),
    )
    return Judgement(goals, tuple(_doubts(run.phases)))


def _others(phase: Phase) -> float:
    return figures.completion((hit for hit in figures.of(phase.hits, "quiet") if hit.at >= WARM_SECONDS), 0.99)


def _doubts(phases: Sequence[Phase]) -> list[str]:
    doubts = []
    for phase in phases:
        if phase.late_p99_seconds > _LATEST_SECONDS:
            doubts.append(f"{phase.name}: the client sent its requests late (p99 {phase.late_p99_seconds * 1000:.0f} ms)")
        if phase.cpu_share > _BUSIEST:
            doubts.append(
                f"{phase.name}: the machine was busy to {phase.cpu_share:.0%}, of which {phase.own_cpu_share:.0%} with this platform"
            )
    return doubts
