"""How many requests a worker gets: the limit that finds itself, against the best that could have been set by hand."""

from random import Random

from penstock.serving.routing.worker_set import RoutingRules
from penstock.simulation.rehearsal import figures
from penstock.simulation.rehearsal.machine import MachineSpec
from penstock.simulation.rehearsal.scenarios.overload import waiting_for
from penstock.simulation.rehearsal.traffic import Sizes, asks, of_classes, poisson
from penstock.simulation.rehearsal.verdict import PassLine, Scenario
from penstock.simulation.rehearsal.world import Setup, World
from penstock.simulation.replica import Speed

_GPU = Speed(prefill_tokens_per_second=20_000, step_seconds=0.02, step_seconds_per_sequence=0.0005, max_batch=24)
_SIZES = Sizes(300, 0.6, 80, 0.6, 2_000, 300)
_RATE = 28.0
_FIXED = (4, 8, 16, 24, 48, 64)


def _good(seed: int, seconds: float, slots: int, rules: RoutingRules) -> float:
    random = Random(seed)
    given = waiting_for(of_classes(random, asks(poisson(random, _RATE, seconds), lambda: _SIZES.draw(random))))
    world = World(Setup(tuple(MachineSpec(f"w{n}", _GPU, slots) for n in range(2)), routing=rules), seed)
    return figures.goodput(world.play(given, seconds + 60.0), 20.0, seconds)


def _measure(seed: int, brief: bool) -> dict[str, float]:
    seconds = 50.0 if brief else 90.0
    fixed = {slots: _good(seed, seconds, slots, RoutingRules(limits=None)) for slots in _FIXED}
    adaptive = _good(seed, seconds, _FIXED[-1], RoutingRules())
    return {
        **{f"goodput req/s, fixed at {slots}": good for slots, good in fixed.items()},
        f"goodput req/s, adaptive below {_FIXED[-1]}": adaptive,
        "adaptive / best fixed": adaptive / max(fixed.values()),
    }


LIMITS = Scenario(
    "adaptive_limit",
    "A limit that finds itself",
    f"Two workers that batch {_GPU.max_batch} requests and say that they have {_FIXED[-1]} slots, {_RATE:g} requests/s, which is more than"
    " they can do. Goodput with limits fixed by hand, and with the adaptive one.",
    _measure,
    (PassLine("adaptive_limit.goodput_vs_best_fixed", "adaptive / best fixed", ">=", 0.8),),
)
