"""All scenarios, in the order of a report."""

from collections.abc import Callable, Iterator, Sequence

from penstock.simulation.rehearsal.scenarios import faults, limits, overload, placing, scaling, sharing, traces
from penstock.simulation.rehearsal.traffic import PlannedRequest
from penstock.simulation.rehearsal.verdict import Scenario, ScenarioFinding, rehearse

SEEDS = tuple(range(1, 21))


def scenarios(trace: Sequence[PlannedRequest] = ()) -> tuple[Scenario, ...]:
    """`trace`: a production trace for the scenario that replays one."""
    return (
        placing.MIXED_LENGTHS,
        placing.OLD_LOADS,
        placing.SHARED_PREFIXES,
        traces.scenario(trace),
        sharing.TURNS,
        sharing.TENANTS,
        sharing.NOISY_NEIGHBOUR,
        sharing.WAITS,
        overload.LOADS,
        overload.BURST,
        overload.BACKFILL,
        limits.LIMITS,
        faults.SLOWDOWN,
        faults.CRASH,
        faults.FLAPPING,
        faults.ALL_DOWN,
        faults.FROM_ZERO,
        scaling.STEP,
        scaling.WOBBLE,
        scaling.SLEEP,
    )


class UnknownScenario(ValueError):
    """The message lists those that exist."""


def chosen(names: Sequence[str], trace: Sequence[PlannedRequest] = ()) -> tuple[Scenario, ...]:
    """`all`, or scenarios by name. Raises UnknownScenario."""
    known = {one.name: one for one in scenarios(trace)}
    if "all" in names:
        return tuple(known.values())
    if unknown := [name for name in names if name not in known]:
        raise UnknownScenario(f"unknown scenario: {', '.join(unknown)}; there are: all, {', '.join(known)}")
    return tuple(known[name] for name in names)


def run(
    wanted: Sequence[Scenario],
    seeds: Sequence[int],
    *,
    brief: bool,
    jobs: int = 1,
    begin: Callable[[Scenario], None] = lambda one: None,
) -> Iterator[ScenarioFinding]:
    """One after the other, the seeds of each in `jobs` processes; `begin` hears which is next."""
    for one in wanted:
        begin(one)
        yield rehearse(one, seeds, brief=brief, jobs=jobs)
