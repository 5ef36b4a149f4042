"""Who is served when not all can be: classes by weight, tenants equally, none for ever last."""

from collections.abc import Sequence
from random import Random

from penstock.domain.principal import ServiceClass
from penstock.serving.pipeline.pipeline import TICK_SECONDS
from penstock.serving.routing.worker_set import RoutingRules
from penstock.serving.scheduling.tenants import COMPLETION_WEIGHT, PROMPT_WEIGHT
from penstock.simulation.rehearsal import figures
from penstock.simulation.rehearsal.machine import MachineSpec
from penstock.simulation.rehearsal.outcomes import RequestResult
from penstock.simulation.rehearsal.traffic import PlannedRequest, Sizes, asks, at_most, merged, of_classes, poisson
from penstock.simulation.rehearsal.verdict import PassLine, Scenario
from penstock.simulation.rehearsal.world import Setup, World
from penstock.simulation.replica import Speed

_FIXED = RoutingRules(limits=None, slow_start_seconds=0.0, priority_reserve=0.0, overflow_reserve=0.0)

# --- deficit round robin ---------------------------------------------------------------------------------------------

_FAST = Speed(prefill_tokens_per_second=1e6, step_seconds=0.0002, step_seconds_per_sequence=0.0)
_FIRST = 320


def _measure_turns(seed: int, brief: bool) -> dict[str, float]:
    """Both classes always have a request in the queue; all of it is over before one has waited too long and is promoted."""
    random = Random(seed)
    premium = [PlannedRequest(0.001 * random.random(), 32, 32, 32, ServiceClass.PREMIUM, "premium") for _ in range(300)]
    at_once = [PlannedRequest(0.001 * random.random(), 32, 32, 32, ServiceClass.ENTERPRISE, "enterprise") for _ in range(200)]
    later = [PlannedRequest(at, 32, 32, 32, ServiceClass.ENTERPRISE, "enterprise") for at in poisson(random, 130.0, 6.0)]
    world = World(Setup((MachineSpec("w", _FAST, 1),), routing=_FIXED), seed)
    world.play(sorted([*premium, *at_once, *later]), 4.0)
    done = sorted((one for one in world.results if one.completed), key=lambda one: one.ask.at + (one.seconds or 0.0))
    enterprise = sum(one.ask.service_class is ServiceClass.ENTERPRISE for one in done[:_FIRST])
    return {"enterprise among the first 320": float(enterprise), "off from 256": abs(enterprise - 256.0), "completed": float(len(done))}


TURNS = Scenario(
    "class_weights",
    "Two classes of weights 512 and 128",
    "One slot, requests of the same size, both classes always in the queue: of the first 320 that complete 256 should be enterprise's.",
    _measure_turns,
    (PassLine("deficit_round_robin.first_320", "off from 256", "<=", 3.0, "every"),),
)

# --- tenants ---------------------------------------------------------------------------------------------------------

_SLOTS = 16
_GPU = Speed(prefill_tokens_per_second=20_000, step_seconds=0.01, step_seconds_per_sequence=0.0002, max_batch=_SLOTS)
_LONGEST_PROMPT, _LONGEST_OUTPUT = 2_000, 400


def _tenants(seed: int, seconds: float) -> list[PlannedRequest]:
    """Five organisations that always want more than their share: of short or long questions or answers, or more often than others."""
    random = Random(seed)
    kinds = {
        "short": Sizes(100, 0.5, 60, 0.5, 400, 200),
        "long-prompts": Sizes(1_200, 0.4, 60, 0.5, _LONGEST_PROMPT, 200),
        "long-answers": Sizes(100, 0.5, 250, 0.4, 400, _LONGEST_OUTPUT),
        "ordinary": Sizes(500, 0.6, 120, 0.6, _LONGEST_PROMPT, _LONGEST_OUTPUT),
        "greedy": Sizes(500, 0.6, 120, 0.6, _LONGEST_PROMPT, _LONGEST_OUTPUT),
    }
    parts: list[list[PlannedRequest]] = []
    for name, sizes in kinds.items():
        shapes = [sizes.draw(random) for _ in range(2_000)]
        own = [PlannedRequest(0.0, s.prompt_tokens, s.output_tokens, at_most(s.output_tokens), ServiceClass.PREMIUM, name) for s in shapes]
        rate = 30.0 if name == "greedy" else 8.0
        moments = [*(0.0 for _ in range(40)), *poisson(random, rate, seconds)]
        parts.append([ask._replace(at=at) for ask, at in zip(own, moments, strict=False)])
    return merged(*parts)


def _service(world: World, org_ids: Sequence[str]) -> list[float]:
    """What each has had until now, weighted as its counter is: whole answers, and what running ones have made."""
    had = dict.fromkeys(org_ids, 0.0)
    for one in world.results:
        if one.completed:
            had[one.ask.org_id] += PROMPT_WEIGHT * one.ask.prompt_tokens + COMPLETION_WEIGHT * one.ask.output_tokens
    for machine in world.machines.values():
        for ask, made in machine.under_way():
            had[ask.org_id] += PROMPT_WEIGHT * ask.prompt_tokens + COMPLETION_WEIGHT * made
    return [had[org_id] for org_id in org_ids]


def _measure_tenants(seed: int, brief: bool) -> dict[str, float]:
    seconds = 30.0 if brief else 60.0
    given = _tenants(seed, seconds)
    org_ids = sorted({ask.org_id for ask in given})
    world = World(Setup((MachineSpec("w", _GPU, _SLOTS, news_seconds=0.25),), routing=_FIXED), seed)
    samples: list[list[float]] = []
    for second in range(2, int(seconds), 2):
        world.agenda.at(world.started + second, lambda: samples.append(_service(world, org_ids)))
    world.play(given, seconds)
    served = [[now - then for now, then in zip(sample, samples[0], strict=True)] for sample in samples[1:]]
    bound = 2 * max(PROMPT_WEIGHT * _LONGEST_PROMPT, COMPLETION_WEIGHT * _SLOTS * (_LONGEST_PROMPT + _LONGEST_OUTPUT))
    gap = max(max(sample) - min(sample) for sample in served)
    return {"largest gap of service, weighted tokens": gap, "gap over its bound": gap / bound, "Jain's index": figures.jain(served[-1])}


TENANTS = Scenario(
    "tenants",
    "Five tenants of one class that all want too much",
    f"One worker with {_SLOTS} slots; one tenant asks short questions, one long ones, one wants long answers, one asks four times as often."
    " Service: prompt tokens + 2 x tokens made. Bound: 2 max(w_in x longest prompt, w_out x tokens of the largest batch) (Sheng et al.).",
    _measure_tenants,
    (
        PassLine("virtual_token_counters.gap_over_bound", "gap over its bound", "<=", 1.0, "every"),
        PassLine("virtual_token_counters.jain", "Jain's index", ">=", 0.99, "every"),
    ),
)

# --- a noisy neighbour -----------------------------------------------------------------------------------------------

_NOISY_RATE, _QUIET_RATE = 50, 3.0
_STEADY_GPU = Speed(prefill_tokens_per_second=40_000, step_seconds=0.01, step_seconds_per_sequence=0.0001, max_batch=_SLOTS)
"""A full one is not much slower than a busy one: what a batch costs those that are in it no gateway can give back."""


def _noise(seed: int, seconds: float, factor: int) -> list[PlannedRequest]:
    """Ten organisations of the class premium, the same rate each; the last asks `factor` times as often."""
    random = Random(seed)
    sizes = Sizes(300, 0.6, 80, 0.6, 2_000, 300)
    quiet = [
        ask._replace(org_id=f"quiet-{n}")
        for n in range(9)
        for ask in asks(poisson(random, _QUIET_RATE, seconds), lambda: sizes.draw(random), service_class=ServiceClass.PREMIUM)
    ]
    loud = asks(
        poisson(random, _QUIET_RATE * factor, seconds), lambda: sizes.draw(random), service_class=ServiceClass.PREMIUM, org_id="noisy"
    )
    return merged(sorted(quiet), loud)


def _others(results: Sequence[RequestResult], start: float) -> list[RequestResult]:
    return [one for one in results if one.ask.org_id != "noisy" and one.ask.at >= start]


def _measure_noise(seed: int, brief: bool) -> dict[str, float]:
    seconds = 40.0 if brief else 80.0
    machines = tuple(MachineSpec(f"w{n}", _STEADY_GPU, _SLOTS) for n in range(4))
    found: dict[str, float] = {}
    for name, factor, one_queue in (("calm", 1, False), ("noisy", _NOISY_RATE, False), ("noisy, one queue for all", _NOISY_RATE, True)):
        world = World(Setup(machines, routing=_FIXED, one_queue=one_queue), seed)
        others = _others(world.play(_noise(seed, seconds, factor), seconds + 60.0), 10.0)
        found |= {
            f"others' TTFT p99 s, {name}": figures.first_token(others, 0.99),
            f"others' completion p99 s, {name}": figures.completion(others, 0.99),
            f"others' success, {name}": figures.share(others, lambda one: one.completed),
        }
    p99 = "others' completion p99 s, "
    return found | {"others' p99, noisy / calm": found[p99 + "noisy"] / found[p99 + "calm"]}


NOISY_NEIGHBOUR = Scenario(
    "noisy_neighbour",
    f"One of ten tenants asks {_NOISY_RATE} times as much",
    f"Four workers that ten tenants of one class keep busy to six tenths, each with {_QUIET_RATE:g} requests/s; then one of them asks fifty"
    " times as often, which is more than all workers can do. Baseline: one queue for all, first come, first served.",
    _measure_noise,
    (PassLine("noisy_neighbour.others_p99", "others' p99, noisy / calm", "<=", 1.2),),
)

# --- no request waits for ever -------------------------------------------------------------------------------------------

_PATIENCE = {ServiceClass.ENTERPRISE: 5.0, ServiceClass.PREMIUM: 15.0, ServiceClass.FREE: 30.0}


def _measure_waits(seed: int, brief: bool) -> dict[str, float]:
    """At twice what the workers can do; bounded: the oldest wait of a class, over its patience and the pipeline's longest wait."""
    seconds = 90.0 if brief else 240.0
    random = Random(seed)
    sizes = Sizes(300, 0.6, 80, 0.6, 2_000, 300)
    given = of_classes(random, asks(poisson(random, 26.0, seconds), lambda: sizes.draw(random)))
    world = World(Setup((MachineSpec("w", _GPU, _SLOTS),), routing=_FIXED), seed)
    results = world.play(given, seconds + 180.0)
    waits = {each: max((one.queue_seconds for one in figures.of_class(results, each)), default=0.0) for each in _PATIENCE}
    return {
        **{f"oldest wait s, {each.name.lower()}": wait for each, wait in waits.items()},
        "oldest wait over the longest allowed": max(waits.values()) / (world.deps.rules.max_wait_seconds + TICK_SECONDS),
        "completed": figures.share(results, lambda one: one.completed),
        "answered in some way": figures.share(results, lambda one: one.status != 0),
    }


WAITS = Scenario(
    "starvation",
    "Twice as much as the workers can do, for minutes",
    "One worker, 10/30/60 % enterprise/premium/free. The oldest wait of those that were served, against the"
    " longest that the gateway allows (120 s, looked at four times a second).",
    _measure_waits,
    (
        PassLine("starvation_guard.oldest_wait", "oldest wait over the longest allowed", "<=", 1.0, "every"),
        PassLine("starvation_guard.nobody_forgotten", "answered in some way", "=", 1.0, "every"),
    ),
)
