"""Recorded traffic under another policy: the same requests twice, on the same simulated workers, and what would have been different."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock.domain.policy import Policy
from penstock.simulation.rehearsal import figures
from penstock.simulation.rehearsal.machine import MachineSpec
from penstock.simulation.rehearsal.traffic import PlannedRequest
from penstock.simulation.rehearsal.world import Setup, World
from penstock.simulation.replica import Speed

_DRAIN_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class Workers:
    """Those that the traffic is replayed on. How fast the real ones were is not recorded: say what they are like."""

    count: int = 2
    slots: int = 32
    speed: Speed = Speed()

    def specs(self) -> tuple[MachineSpec, ...]:
        return tuple(MachineSpec(f"w{number}", self.speed, self.slots) for number in range(self.count))


def compare(asks: Sequence[PlannedRequest], policies: Mapping[str, Policy], workers: Workers, seed: int = 1) -> dict[str, dict[str, float]]:
    """By the policies' names, the figures of the replay."""
    seconds = asks[-1].at if asks else 0.0
    return {name: _replay(asks, policy, workers, seconds, seed) for name, policy in policies.items()}


def _replay(asks: Sequence[PlannedRequest], policy: Policy, workers: Workers, seconds: float, seed: int) -> dict[str, float]:
    world = World(Setup(workers.specs(), policy=policy), seed)
    results = world.play(asks, seconds + _DRAIN_SECONDS)
    found = figures.by_class(results, 0.0, seconds + 1.0)
    return found | {
        "goodput req/s": figures.goodput(results, 0.0, max(seconds, 1.0)),
        "requests": float(len(results)),
        "completed": figures.share(results, lambda one: one.completed),
    }
