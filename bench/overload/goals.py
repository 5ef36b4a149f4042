"""What the platform must do under overload, and whether a run may be believed at all."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.overload import figures, queue
from bench.overload.figures import Phase, Settling
from bench.overload.queue import Sample
from bench.overload.runs import STEP_AT, STEP_UNTIL
from penstock.simulation.rehearsal.figures import quantile

_LATEST_SECONDS, _BUSIEST = 0.02, 0.7
WARM_SECONDS = 4.0
BIN_SECONDS = 0.5
REFUSED_CLASSES = ("premium", "free")


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that was measured."""

    capacity: float
    loads: Sequence[Phase]
    steps: Sequence[Phase]
    queues: Sequence[Sequence[Sample]]
    """How many were queued, during each of the steps."""
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
        return [*self.loads, *self.steps, self.calm, self.noisy, self.outage]


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
    settled = settlings(run)
    others = _others(run.noisy) / _others(run.calm)
    goals = (
        Goal("goodput at 10x over its peak", ten >= 0.9, ten, ">= 0.9"),
        Goal("enterprise success at 5x", five >= 0.999, five, ">= 0.999"),
        Goal("p99 of refusals on arrival, ms", refusals <= 0.02, refusals * 1000, "<= 20"),
        Goal("refusals settled after a step from 0.5x to 10x, s", settled.refused.seconds <= 1.0, settled.refused.seconds, "<= 1"),
        Goal("the queue of those that are refused settled, s", settled.line.seconds <= 1.0, settled.line.seconds, "<= 1"),
        Goal("others' p99 beside a tenant at 50x, over calm", others <= 1.2, others, "<= 1.2"),
        Goal("attempts for each request, every upstream failing", run.amplification <= 1.2, run.amplification, "<= 1.2"),
    )
    return Judgement(goals, tuple(_doubts(run.phases)))


@dataclass(frozen=True, slots=True)
class Settlings:
    """Of the queues of those classes that are refused: the heaviest has room for its patience, and its queue grows until then."""

    refused: Settling
    """The share that is refused, of all steps together."""
    line: Settling
    """Each step's queue beside its own later level; what chance does to so few steps is allowed for."""
    waiting: Settling
    """The lines as they are, added up; told, not judged."""


def settlings(run: Run) -> Settlings:
    when = STEP_AT, STEP_UNTIL, BIN_SECONDS
    return Settlings(
        figures.settling(figures.refused_over_time([step.hits for step in run.steps], STEP_UNTIL, BIN_SECONDS), *when),
        figures.settling_of(queue.relative(run.queues, REFUSED_CLASSES, *when), *when),
        figures.settling(queue.mean(run.queues, REFUSED_CLASSES, STEP_UNTIL, BIN_SECONDS), *when),
    )


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
