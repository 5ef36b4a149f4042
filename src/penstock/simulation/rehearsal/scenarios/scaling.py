"""A deployment that grows and shrinks: a step to ten times as much, a load that wobbles, and sleep."""

import math
from collections.abc import Sequence
from random import Random

from penstock.capacity.rules import ScaleRules
from penstock.domain.principal import ServiceClass
from penstock.simulation.rehearsal import chart, figures
from penstock.simulation.rehearsal.deployment import Deployment, DeploymentSpec
from penstock.simulation.rehearsal.machine import MachineSpec
from penstock.simulation.rehearsal.outcomes import RequestResult
from penstock.simulation.rehearsal.scenarios.overload import waiting_for
from penstock.simulation.rehearsal.traffic import PlannedRequest, Sizes, asks, of_classes, poisson, steps
from penstock.simulation.rehearsal.verdict import PassLine, Scenario
from penstock.simulation.rehearsal.world import Setup, World
from penstock.simulation.replica import Speed

_GPU = Speed(prefill_tokens_per_second=8_000, step_seconds=0.05, step_seconds_per_sequence=0.00125, max_batch=16)
_REPLICA = MachineSpec("r", _GPU, 16)
_SIZES = Sizes(300, 0.6, 80, 0.6, 2_000, 300)
_TARGET_TOKENS = 450.0
"""What one of them has to do at 1.4 requests/s, two thirds of what it can; found by trying."""
_SUITED_RATE = 1.4
_COLD_START_SECONDS = 20.0
_VIOLATED_SHARE = 0.01
_MOST = 10
_LAST_SECONDS = 60.0
"""For the last ones to be served."""


def _traffic(seed: int, rates: Sequence[tuple[float, float]]) -> list[PlannedRequest]:
    random = Random(seed)
    return waiting_for(of_classes(random, asks(steps(random, rates), lambda: _SIZES.draw(random))))


def _scaled(
    seed: int, given: Sequence[PlannedRequest], seconds: float, rules: ScaleRules, first: int = 1
) -> tuple[list[RequestResult], Deployment]:
    world = World(Setup(()), seed)
    deployment = Deployment(world, DeploymentSpec(_REPLICA, rules, _COLD_START_SECONDS, first))
    return world.play(given, seconds + _LAST_SECONDS), deployment


def _fixed(seed: int, given: Sequence[PlannedRequest], seconds: float, count: int) -> list[RequestResult]:
    machines = tuple(MachineSpec(f"r-{n}", _GPU, _REPLICA.slots) for n in range(count))
    return World(Setup(machines), seed).play(given, seconds + _LAST_SECONDS)


def violated_seconds(results: Sequence[RequestResult]) -> float:
    """Seconds in which more than one in a hundred came who was not served as its class promises."""
    came: dict[int, int] = {}
    missed: dict[int, int] = {}
    for one in results:
        second = math.floor(one.ask.at)
        came[second] = came.get(second, 0) + 1
        missed[second] = missed.get(second, 0) + (not figures.served_well(one))
    return float(sum(missed[second] > _VIOLATED_SHARE * count for second, count in came.items()))


# --- a step ----------------------------------------------------------------------------------------------------------

_CALM, _FACTOR = 3.0, 10
_STEP_AT, _STEP_SECONDS, _AFTER_SECONDS = 60.0, 120.0, 1_200.0
_FEW = math.ceil(_CALM / _SUITED_RATE)
_RULES = ScaleRules(_TARGET_TOKENS, max_replicas=26)


def _measure_step(seed: int, brief: bool) -> dict[str, float]:
    given = _traffic(seed, ((_STEP_AT, _CALM), (_STEP_SECONDS, _FACTOR * _CALM), (_AFTER_SECONDS, _CALM)))
    seconds = _STEP_AT + _STEP_SECONDS + _AFTER_SECONDS
    results, deployment = _scaled(seed, given, seconds, _RULES, first=_FEW)
    affordable, enough = int(deployment.replica_seconds / seconds), math.ceil(_FACTOR * _CALM / _SUITED_RATE)
    of_fixed = {count: violated_seconds(_fixed(seed, given, seconds, count)) for count in {_FEW, affordable, enough}}
    own = violated_seconds(results)
    last = max((one.ask.at - _STEP_AT for one in results if not figures.served_well(one)), default=0.0)
    return {
        "violated seconds, autoscaled": own,
        "violated seconds, fixed for calm": of_fixed[_FEW],
        "violated seconds, fixed at that cost": of_fixed[affordable],
        "violated seconds, fixed for the step": of_fixed[enough],
        "violated / fixed at that cost": own / max(1.0, of_fixed[affordable]),
        "enterprise violated seconds": violated_seconds(figures.of_class(results, ServiceClass.ENTERPRISE)),
        "last violation s after the step": last,
        "replicas at most": float(deployment.most),
        "replica-seconds": deployment.replica_seconds,
        "replica-seconds / fixed for the step": deployment.replica_seconds / (enough * seconds),
        "reversals": float(deployment.reversals),
        "drained": float(deployment.drained),
        "cut off when drained": float(deployment.cut_off + sum(one.code == "broke_off" for one in results)),
        "replicas at the end": float(deployment.size),
    }


def _draw_step() -> str:
    """Of the first seed: what the load wants, what was ordered, and what served."""
    rates = ((_STEP_AT, _CALM), (_STEP_SECONDS, _FACTOR * _CALM), (600.0, _CALM))
    seconds = sum(part for part, _ in rates)
    _, deployment = _scaled(1, _traffic(1, rates), seconds - _LAST_SECONDS, _RULES, first=_FEW)
    moments = [0.0, _STEP_AT, _STEP_AT, _STEP_AT + _STEP_SECONDS, _STEP_AT + _STEP_SECONDS, seconds]
    wants = [_CALM, _CALM, _FACTOR * _CALM, _FACTOR * _CALM, _CALM, _CALM]
    return chart.lines(
        "Replicas, first seed",
        "seconds",
        "replicas",
        {
            "load": [(at, rate / _SUITED_RATE) for at, rate in zip(moments, wants, strict=True)],
            "ordered": [(at, float(wanted)) for at, wanted, _ in deployment.sizes],
            "serving": [(at, float(ready)) for at, _, ready in deployment.sizes],
        },
    )


STEP = Scenario(
    "autoscaling",
    "Ten times as much from one second to the next, and a deployment that grows",
    f"{_CALM:g} requests/s for a minute, {_FACTOR * _CALM:g} for two, {_CALM:g} for twenty; a replica is meant for {_SUITED_RATE:g}, does"
    f" 2.2 at most, and is there {_COLD_START_SECONDS:g} s after it was asked for; {_RULES.max_replicas} at most. 10/30/60 %"
    " enterprise/premium/free, which wait 5, 10 and 20 s. A second is violated when more than one in a hundred of those that came in it"
    " was not served as its class promises."
    " Baselines: fixed fleets of as many replicas as the calm wants, as the same replica-seconds buy, and as the step wants.",
    _measure_step,
    (
        PassLine("autoscaling.slo_violations_after_a_10x_step", "violated / fixed at that cost", "<=", 0.5),
        PassLine("autoscaling.settles_after_a_10x_step", "last violation s after the step", "<=", 2 * _COLD_START_SECONDS),
        PassLine("autoscaling.replica_seconds", "replica-seconds / fixed for the step", "<=", 0.6),
        PassLine("autoscaling.at_most_one_reversal", "reversals", "<=", 1.0, "every"),
        PassLine("autoscaling.scale_down_cuts_nobody_off", "cut off when drained", "=", 0.0, "every"),
    ),
    _draw_step,
)

# --- a load that wobbles ---------------------------------------------------------------------------------------------


def _measure_wobble(seed: int, brief: bool) -> dict[str, float]:
    """Half a minute of a third more than three replicas are meant for, half a minute of a third less, and so on."""
    seconds = 600.0 if brief else 1_200.0
    middle = 3 * _SUITED_RATE
    given = _traffic(seed, [(30.0, middle * (4 / 3 if number % 2 else 2 / 3)) for number in range(int(seconds / 30))])
    results, deployment = _scaled(seed, given, seconds, ScaleRules(_TARGET_TOKENS, max_replicas=_MOST), first=3)
    eager = ScaleRules(_TARGET_TOKENS, max_replicas=_MOST, stable_seconds=6.0, tolerance=0.0, down_after_seconds=0.0)
    _, follower = _scaled(seed, given, seconds, eager, first=3)
    return {
        "reversals": float(deployment.reversals),
        "reversals of one that follows the last six seconds": float(follower.reversals),
        "replicas at most": float(deployment.most),
        "success": figures.share(results, lambda one: one.completed),
    }


WOBBLE = Scenario(
    "autoscaling_wobble",
    "A load that goes up and down every half minute",
    f"A third more and a third less than three replicas are meant for ({3 * _SUITED_RATE:g} requests/s): a deployment that follows would"
    " start and stop replicas every half minute (ray#18925, kubeai#67). At most one turn in ten minutes. Baseline: the same rules without"
    " the five minutes, the tolerance and the long mean.",
    _measure_wobble,
    (
        PassLine("autoscaling.does_not_flap", "reversals", "<=", 2.0, "every"),
        PassLine("autoscaling.serves_a_wobbling_load", "success", ">=", 0.99),
    ),
)

# --- sleep -----------------------------------------------------------------------------------------------------------

_WOKEN_AT, _AWAKE_SECONDS, _ASLEEP_SECONDS = 30.0, 90.0, 480.0


def _measure_sleep(seed: int, brief: bool) -> dict[str, float]:
    """No traffic for half a minute; then traffic for a minute and a half; then none again."""
    random = Random(seed)
    given = of_classes(random, asks(poisson(random, 2.0, _AWAKE_SECONDS, _WOKEN_AT), lambda: _SIZES.draw(random)))
    rules = ScaleRules(_TARGET_TOKENS, min_replicas=0, max_replicas=_MOST)
    results, deployment = _scaled(seed, given, _WOKEN_AT + _AWAKE_SECONDS + _ASLEEP_SECONDS, rules, first=0)
    return {
        "refused": float(sum(one.refused for one in results)),
        "served in the end": figures.share(results, lambda one: one.completed),
        "first one's TTFT s": results[0].first_token_seconds or math.nan,
        "TTFT p99 s": figures.first_token(results, 0.99),
        "reversals": float(deployment.reversals),
        "replicas at the end": float(deployment.size),
        "asleep / of the time": 1.0 - deployment.awake_seconds / (_WOKEN_AT + _AWAKE_SECONDS + _ASLEEP_SECONDS + _LAST_SECONDS),
    }


SLEEP = Scenario(
    "autoscaling_from_zero",
    "A deployment that sleeps until a request comes",
    f"No replica, and no requests for {_WOKEN_AT:g} s; then 2 requests/s for {_AWAKE_SECONDS:g} s, which wait in the queue while the"
    f" first replica starts ({_COLD_START_SECONDS:g} s), and are not refused; then no requests for {_ASLEEP_SECONDS:g} s.",
    _measure_sleep,
    (
        PassLine("autoscaling.from_zero_nothing_lost", "served in the end", "=", 1.0, "every"),
        PassLine("autoscaling.from_zero_nobody_refused", "refused", "=", 0.0, "every"),
        PassLine("autoscaling.goes_back_to_sleep", "replicas at the end", "=", 0.0, "every"),
    ),
)
