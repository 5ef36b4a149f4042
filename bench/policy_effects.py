"""What each setting of the policy does: the real pipeline on a virtual clock, overloaded, with one setting changed at a time.

`python -m bench.policy_effects [--json] [--seeds N]`. One simulated worker with 32 slots is asked for twice what it can do for 60 s by
every class at once (10 % enterprise, 30 % premium, 40 % free, 20 % batch). A row is the policy of a new installation, or that with one
thing different: the share of each class's requests that got their whole answer, and the 99th percentile of their time to the first token.

A second table is about tiers and pools: one class, of which two fifths ask for `priority`, one for `flex` and two for nothing, at
twice what a shared worker of 16 slots and one of 16 for the pool `standard` can do; beside them is one of 8 for `overflow`.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from random import Random
from typing import Any

from bench.figures import percentile
from penstock.catalog.policy_document import parse
from penstock.domain.principal import Plan, ServiceClass
from penstock.serving.routing.worker_set import RoutingRules
from penstock.serving.scheduling.counters import ClassCounters
from penstock.simulation.rehearsal.machine import MachineSpec
from penstock.simulation.rehearsal.outcomes import RequestResult
from penstock.simulation.rehearsal.traffic import PlannedRequest, Sizes, asks, of_classes, poisson
from penstock.simulation.rehearsal.world import Setup, World, plan
from penstock.simulation.replica import Speed

_SECONDS = 60.0
_REST_SECONDS = 60.0
_CAPACITY = 18.0
"""Requests a second that the worker can do, of these sizes."""
_SLOTS = 32
_SPEED = Speed(prefill_tokens_per_second=20_000, step_seconds=0.01, step_seconds_per_sequence=0.0002, max_batch=_SLOTS)
_SIZES = Sizes(300, 0.6, 90, 0.6, 2_000, 400)
_MIX = {ServiceClass.ENTERPRISE: 0.1, ServiceClass.PREMIUM: 0.3, ServiceClass.FREE: 0.4, ServiceClass.BATCH: 0.2}

VARIATIONS: Mapping[str, dict[str, Any]] = {
    "as installed": {},
    "classes.free.weight = 512": {"classes": {"free": {"weight": 512}}},
    "classes.free.bound = 64": {"classes": {"free": {"bound": 64}}},
    "classes.free.patience_seconds = 2": {"classes": {"free": {"patience_seconds": 2}}},
    "tenants.free-0.weight = 4": {"tenants": {"free-0": {"weight": 4}}},
    "pools.priority_reserve = 0.5": {"pools": {"priority_reserve": 0.5}},
    "shedding.batch_factor = 0": {"shedding": {"batch_factor": 0}},
    "shedding.batch_factor = 30000": {"shedding": {"batch_factor": 30000}},
    "shedding.batch_exponent = 1": {"shedding": {"batch_exponent": 1}},
    "preempt_batch = false": {"preempt_batch": False},
}

_TIERS = {"priority": 0.4, None: 0.4, "flex": 0.2}
_TIER_NAMES = {"priority": "priority", None: "none", "flex": "flex"}
_TIER_SLOTS = {"shared": 16, "standard": 16, "overflow": 8}

_CALM, _BUSY = 1.0, 2.0
TIER_VARIATIONS: Mapping[str, tuple[float, dict[str, Any], dict[str, Any]]] = {
    "as installed": (_BUSY, {}, {}),
    "plans.*.spill = true": (_BUSY, {}, {"spill": True}),
    "plans.*.downgrade = false": (_BUSY, {}, {"downgrade": False}),
    "as installed, calm": (_CALM, {}, {}),
    "pools.overflow_reserve = 0.8, calm": (_CALM, {"pools": {"overflow_reserve": 0.8}}, {}),
}
"""The load, the policy, and what is different about the plans."""


@dataclass(frozen=True, slots=True)
class ClassResult:
    """Of the requests of one class, or of one tenant."""

    served: float
    """Share."""
    ttft_p99_seconds: float


@dataclass(frozen=True, slots=True)
class Effect:
    setting: str
    classes: Mapping[str, ClassResult]
    one_tenant: ClassResult
    """`free-0`, one of eight of the class `free`."""
    preempted: int
    shed: Mapping[str, int]
    """By reason, all classes."""


def traffic(seed: int, load: float) -> list[PlannedRequest]:
    random = Random(seed)
    given = asks(poisson(random, load * _CAPACITY, _SECONDS), lambda: _SIZES.draw(random), timeout_seconds=30.0)
    return of_classes(random, given, _MIX)


def effect(name: str, policy: Mapping[str, Any], seeds: int, load: float) -> Effect:
    results: list[RequestResult] = []
    total = ClassCounters()
    for seed in range(seeds):
        # The slots are as many as are given: here only the queue is looked at.
        fleet = RoutingRules(limits=None, slow_start_seconds=0.0)
        world = World(Setup((MachineSpec("w", _SPEED, _SLOTS, news_seconds=0.25),), policy=parse(policy), routing=fleet), seed)
        results += world.play(traffic(seed, load), _SECONDS + _REST_SECONDS)
        for counters in world.queue.class_counters:
            total.add(counters)
    classes = {each.name.lower(): _class_result([one for one in results if one.ask.service_class is each]) for each in _MIX}
    favoured = _class_result([one for one in results if one.ask.org_id == "free-0"])
    return Effect(name, classes, favoured, total.preempted, {reason.value: count for reason, count in sorted(total.shed.items())})


@dataclass(frozen=True, slots=True)
class TierEffect:
    setting: str
    tiers: Mapping[str, ClassResult]
    """By what was asked for."""
    on_overflow: float
    """Share of the answers that came from the worker of that pool."""


def tier_effect(name: str, load: float, policy: Mapping[str, Any], changed: Mapping[str, Any], seeds: int) -> TierEffect:
    results: list[RequestResult] = []
    machines = tuple(
        MachineSpec(name, replace(_SPEED, max_batch=slots), slots, pool=None if name == "shared" else name, news_seconds=0.25)
        for name, slots in _TIER_SLOTS.items()
    )
    for seed in range(seeds):
        fleet = RoutingRules(limits=None, slow_start_seconds=0.0)
        plans = partial(_plan, {"spill": False, **changed})
        world = World(Setup(machines, policy=parse(policy), routing=fleet, plans=plans), seed)
        random = Random(seed)
        given = asks(poisson(random, load * _CAPACITY, _SECONDS), lambda: _SIZES.draw(random), timeout_seconds=30.0)  # noqa: B023
        asked = random.choices(list(_TIERS), list(_TIERS.values()), k=len(given))
        given = [one._replace(tier=tier, org_id=f"org-{random.randrange(8)}") for one, tier in zip(given, asked, strict=True)]
        results += world.play(given, _SECONDS + _REST_SECONDS)
    done = [one for one in results if one.completed]
    tiers = {_TIER_NAMES[tier]: _class_result([one for one in results if one.ask.tier == tier]) for tier in _TIERS}
    return TierEffect(name, tiers, sum(one.worker_id == "overflow" for one in done) / max(len(done), 1))


def _plan(changed: Mapping[str, Any], service_class: ServiceClass) -> Plan:
    return replace(plan(service_class), **changed)


def _class_result(results: Sequence[RequestResult]) -> ClassResult:
    done = [one for one in results if one.completed]
    times = sorted(one.first_token_seconds for one in done if one.first_token_seconds is not None)
    return ClassResult(len(done) / max(len(results), 1), percentile(times, 0.99) if times else 0.0)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.policy_effects", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parser.add_argument("--load", type=float, default=2.0, metavar="X", help="times what the worker can do [2]")
    parser.add_argument("--json", action="store_true", help="one line of JSON on standard output")
    parsed = parser.parse_args(arguments)
    effects = [effect(name, policy, parsed.seeds, parsed.load) for name, policy in VARIATIONS.items()]
    tiers = [tier_effect(name, load, policy, plans, parsed.seeds) for name, (load, policy, plans) in TIER_VARIATIONS.items()]
    if parsed.json:
        print(json.dumps({"classes": [asdict(each) for each in effects], "tiers": [asdict(each) for each in tiers]}))
        return 0
    print("| setting | enterprise | premium | free | batch | tenant free-0 | preempted | shed |")
    print("|---|---|---|---|---|---|---|---|")
    for each in effects:
        results = [*each.classes.values(), each.one_tenant]
        cells = [f"{result.served:.0%}, {result.ttft_p99_seconds:.2g} s" for result in results]
        shed = ", ".join(f"{reason} {count}" for reason, count in each.shed.items())
        print(f"| `{each.setting}` | {' | '.join(cells)} | {each.preempted} | {shed} |")
    print(f"\n| setting | {' | '.join(f'asked for {name}' for name in _TIER_NAMES.values())} | answered by the overflow worker |")
    print(f"|---{'|---' * len(_TIER_NAMES)}|---|")
    for one in tiers:
        cells = [f"{result.served:.0%}, {result.ttft_p99_seconds:.2g} s" for result in one.tiers.values()]
        print(f"| `{one.setting}` | {' | '.join(cells)} | {one.on_overflow:.0%} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
