"""More than the workers can do: who is refused, and whether what is done is still worth having."""

from collections.abc import Sequence
from random import Random

from penstock.domain.principal import ServiceClass
from penstock.simulation.rehearsal import figures
from penstock.simulation.rehearsal.machine import MachineSpec
from penstock.simulation.rehearsal.outcomes import RequestResult
from penstock.simulation.rehearsal.traffic import PlannedRequest, Sizes, asks, of_classes, poisson, steps
from penstock.simulation.rehearsal.verdict import PassLine, Scenario
from penstock.simulation.rehearsal.world import Setup, World
from penstock.simulation.replica import Speed

_GPU = Speed(prefill_tokens_per_second=20_000, step_seconds=0.02, step_seconds_per_sequence=0.0005, max_batch=32)
_MACHINES = tuple(MachineSpec(f"w{n}", _GPU, 16) for n in range(4))
CAPACITY = 9.4
"""Requests a second of the sizes below that the four workers can do; found by trying."""
_FACTORS = (0.5, 1.0, 2.0, 5.0, 10.0)
_WARM_SECONDS = 20.0


def traffic(seed: int, rate: float, seconds: float) -> list[PlannedRequest]:
    random = Random(seed)
    sizes = Sizes()
    return waiting_for(of_classes(random, asks(poisson(random, rate, seconds), lambda: sizes.draw(random))))


def waiting_for(given: Sequence[PlannedRequest]) -> list[PlannedRequest]:
    """Each client gives up when its class's promise of a first token is broken, and says so in its request."""
    return [ask._replace(timeout_seconds=figures.OBJECTIVES[ask.service_class].first_token_seconds) for ask in given]


def _play(seed: int, given: Sequence[PlannedRequest], seconds: float, *, one_queue: bool = False) -> list[RequestResult]:
    return World(Setup(_MACHINES, one_queue=one_queue), seed).play(given, seconds + 90.0)


def _measure_loads(seed: int, brief: bool) -> dict[str, float]:
    seconds = 60.0 if brief else 160.0
    found: dict[str, float] = {}
    good: dict[float, float] = {}
    for factor in _FACTORS:
        results = _play(seed, traffic(seed, factor * CAPACITY, seconds), seconds)
        good[factor] = figures.goodput(results, _WARM_SECONDS, seconds)
        found |= {f"{factor:g}x {name}": value for name, value in figures.by_class(results, _WARM_SECONDS, seconds).items()}
        found[f"{factor:g}x goodput req/s"] = good[factor]
        if factor == 2.0:
            fifo = _play(seed, traffic(seed, factor * CAPACITY, seconds), seconds, one_queue=True)
            found["2x goodput req/s, first come first served"] = figures.goodput(fifo, _WARM_SECONDS, seconds)
    peak = max(good.values())
    return found | {
        "goodput at 2x / peak": good[2.0] / peak,
        "goodput at 10x / peak": good[10.0] / peak,
        "false rejects": _false_rejects(seed, seconds),
    }


def _false_rejects(seed: int, seconds: float) -> float:
    """Of the requests that came while all could have been served in time, the share that was refused."""
    given = traffic(seed, 0.9 * CAPACITY, seconds)
    patient = _play(seed, [ask._replace(timeout_seconds=None) for ask in given], seconds)
    hopeful = _play(seed, given, seconds)
    feasible = [mine for mine, own in zip(hopeful, patient, strict=True) if figures.served_well(own)]
    return figures.share(feasible, lambda one: one.refused)


LOADS = Scenario(
    "overload",
    "From half of what the workers can do to ten times as much",
    f"Four workers that can do about {CAPACITY:g} requests/s of the lengths of a production chat; 10/30/60 % enterprise/premium/free."
    " Clients say how long they wait for a first token: 5, 10 and 20 s. Goodput: requests/s whose first token came in that time, and"
    " 100 ms a token or less.",
    _measure_loads,
    (
        PassLine("shedding.goodput_at_2x", "goodput at 2x / peak", ">=", 0.95),
        PassLine("shedding.goodput_at_10x", "goodput at 10x / peak", ">=", 0.9),
        PassLine("shedding.false_rejects", "false rejects", "<", 0.05),
        PassLine("shedding.enterprise_success_at_5x", "5x enterprise success", ">=", 0.999),
    ),
)

# --- a burst ---------------------------------------------------------------------------------------------------------


def _measure_burst(seed: int, brief: bool) -> dict[str, float]:
    """A minute of calm, half a minute of ten times as much, two minutes of calm again."""
    random = Random(seed)
    sizes = Sizes()
    calm = 0.6 * CAPACITY
    moments = steps(random, ((60.0, calm), (30.0, 10 * calm), (120.0, calm)))
    results = _play(seed, waiting_for(of_classes(random, asks(moments, lambda: sizes.draw(random)))), 210.0)
    enterprise = figures.of_class(results, ServiceClass.ENTERPRISE)
    during = [one for one in results if 60.0 <= one.ask.at < 90.0]
    after = [one for one in results if one.ask.at >= 90.0]
    late = [one.ask.at - 90.0 for one in after if one.refused or (one.first_token_seconds or 0.0) > 1.0]
    return {
        "goodput req/s, before": figures.goodput(results, 10.0, 60.0),
        "goodput req/s, in the burst": figures.goodput(results, 60.0, 90.0),
        "goodput req/s, after": figures.goodput(results, 120.0, 210.0),
        "shed in the burst": figures.share(during, lambda one: one.refused),
        "enterprise success": figures.share(enterprise, lambda one: one.completed),
        "seconds until all is as before": max(late, default=0.0),
    }


BURST = Scenario(
    "burst",
    "Half a minute of ten times as much",
    "The same workers at six tenths of what they can do; then ten times as many requests for thirty seconds. As before: the last request"
    " that was refused or waited longer than a second for its first token.",
    _measure_burst,
    (PassLine("burst.enterprise_success", "enterprise success", ">=", 0.999),),
)

# --- batch in the gaps -----------------------------------------------------------------------------------------------


def _measure_backfill(seed: int, brief: bool) -> dict[str, float]:
    seconds = 90.0 if brief else 180.0
    random = Random(seed)
    sizes = Sizes()
    people = of_classes(random, asks(poisson(random, 0.5 * CAPACITY, seconds), lambda: sizes.draw(random)))
    work = asks((seconds * n / 900 for n in range(900)), lambda: sizes.draw(random), service_class=ServiceClass.BATCH, org_id="batch")
    alone = World(Setup(_MACHINES), seed).play(people, seconds)
    world = World(Setup(_MACHINES), seed)
    both = world.play(sorted([*people, *work]), seconds)
    with_batch = [one for one in both if one.ask.service_class is not ServiceClass.BATCH]
    batch = [one for one in both if one.ask.service_class is ServiceClass.BATCH]
    return {
        "people's TTFT p99 s, alone": figures.first_token(alone, 0.99),
        "people's TTFT p99 s, beside batch": figures.first_token(with_batch, 0.99),
        "people's success beside batch": figures.share([one for one in with_batch if one.ask.at < seconds - 60], lambda one: one.completed),
        "batch requests/s": sum(one.completed for one in batch) / seconds,
        "busy with people alone": _busy(alone, seconds),
        "busy beside batch": _busy(both, seconds),
    }


def _busy(results: Sequence[RequestResult], seconds: float) -> float:
    """Tokens made, over what so many requests a second would be at capacity."""
    made = sum(one.ask.output_tokens for one in results if one.completed)
    mean = sum(one.ask.output_tokens for one in results) / len(results)
    return made / (mean * CAPACITY * seconds)


BACKFILL = Scenario(
    "batch_backfill",
    "Batch in the gaps",
    "The same workers, kept busy by people to one half; beside them an endless batch, whose requests may use what is idle and give way"
    " before their first token.",
    _measure_backfill,
    (PassLine("batch_backfill.people_succeed", "people's success beside batch", ">=", 0.999),),
)
