"""`python -m bench.overload.virtual_step`: the step of the overload report on a virtual clock, as often as one likes.

The production classes, the report's workers and clients; hundreds of steps in minutes, so that chance is small and the band of a tenth
can be taken at its word. Each world takes 24 steps one after the other, of which the first, when no pace is known yet, is left out.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

from bench.overload import queue, traffic
from bench.overload.figures import Settling, settling
from bench.overload.goals import BIN_SECONDS, REFUSED_CLASSES
from bench.overload.platform import Sim
from bench.overload.runs import STEP_AT, STEP_UNTIL, STEPS
from penstock.domain.principal import ServiceClass
from penstock.simulation.rehearsal.machine import MachineSpec
from penstock.simulation.rehearsal.traffic import PlannedRequest, of_classes
from penstock.simulation.rehearsal.world import Setup, World
from penstock.simulation.replica import Speed

CAPACITY = 19.8
"""Requests a second: what the report finds for these workers."""
_REST_SECONDS = 14.0
_CLASSES = (ServiceClass.ENTERPRISE, ServiceClass.PREMIUM, ServiceClass.FREE)


def steps(given: Sequence[PlannedRequest], seed: int, *, in_order: bool) -> list[list[queue.Sample]]:
    """How many were queued during each step of one world. `in_order`: the trace's own order, instead of any."""
    sim, random = Sim(), Random(seed)
    speed = Speed(sim.prefill_tokens_per_second, sim.step_seconds, sim.step_seconds_per_sequence, max_batch=sim.slots)
    world = World(Setup(tuple(MachineSpec(f"w{number}", speed, sim.slots) for number in range(sim.workers))), seed)
    source = traffic.Source(given, {}, seed)
    asks: list[PlannedRequest] = []
    starts: list[float] = []
    for number in range(STEPS + 1):
        starts.append(start := number * (STEP_UNTIL + _REST_SECONDS))
        asks += source.asks(CAPACITY / 2, STEP_AT, start, mixed=not in_order)
        asks += source.asks(10 * CAPACITY, STEP_UNTIL - STEP_AT, start + STEP_AT, mixed=not in_order)
    looks: list[queue.Sample] = []

    def look() -> None:
        waiting = {each.name.lower(): world.queue.waiting(each) for each in _CLASSES}
        looks.append(queue.Sample(world.agenda.now - world.started, waiting))

    world.agenda.every(queue.SAMPLE_SECONDS, look)
    mix = {each: traffic.MIX[each.name.lower()] for each in _CLASSES}
    world.play(of_classes(random, asks, mix, orgs=4), starts[-1] + STEP_UNTIL)
    return [[queue.Sample(one.at - start, one.waiting) for one in looks if 0 <= one.at - start < STEP_UNTIL] for start in starts[1:]]


def settled(found: Sequence[Sequence[queue.Sample]]) -> tuple[Settling, list[tuple[float, float]]]:
    """By the band of a tenth alone, and the mean queue, each beside its own later level."""
    shapes = queue.relative(found, REFUSED_CLASSES, STEP_AT, STEP_UNTIL, BIN_SECONDS)
    line = [(at, sum(shape[place][1] for shape in shapes) / len(shapes)) for place, (at, _) in enumerate(shapes[0])]
    return settling(line, STEP_AT, STEP_UNTIL, BIN_SECONDS), line


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.overload.virtual_step", description="How soon the queue settles after a step.")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="Azure's LLM inference trace (CSV); without it, one of its statistics")
    parser.add_argument("--worlds", type=int, default=8, metavar="N", help=f"of {STEPS} steps each [8]")
    parsed = parser.parse_args(arguments)
    given = traffic.trace(parsed.trace)
    for name, in_order in (("requests in any order", False), ("in the trace's order", True)):
        found = [steps(given, seed, in_order=in_order) for seed in range(parsed.worlds)]
        whole, line = settled([step for world in found for step in world])
        print(f"{name}: {parsed.worlds * STEPS} steps, settled after {whole.seconds:g} s")
        print("  queue, every half second after the step:", " ".join(f"{value:.2f}" for at, value in line if at > STEP_AT))
        print(f"  the same of {STEPS} steps at a time:", " ".join(f"{settled(world)[0].seconds:g}" for world in found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
