"""Replicas that come after a cold start and are drained before they go, as the production autoscaler decides."""

from dataclasses import dataclass, replace
from itertools import pairwise

from penstock.capacity.autoscaler import Autoscaler, ScalePlan
from penstock.capacity.observation import Observation, ReplicaLoad, ReplicaState
from penstock.capacity.rules import ScaleRules
from penstock.simulation.rehearsal.bodies import MODEL
from penstock.simulation.rehearsal.machine import Machine, MachineSpec
from penstock.simulation.rehearsal.world import World

DECIDE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    replica: MachineSpec
    """Each is called by its name and a number."""
    rules: ScaleRules
    cold_start_seconds: float = 20.0
    first: int = 1
    """Replicas that are there when the rehearsal begins."""


class Deployment:
    """Put it into a world without workers of its own, before the traffic."""

    def __init__(self, world: World, spec: DeploymentSpec) -> None:
        self._world = world
        self._spec = spec
        self._autoscaler = Autoscaler(spec.rules, world.agenda)
        self._states: dict[str, ReplicaState] = {}
        self._started = 0
        self._paid_until = world.agenda.now
        self.replica_seconds = 0.0
        """From the order to start one until it is gone."""
        self.awake_seconds = 0.0
        """While there was any."""
        self.sizes: list[tuple[float, int, int]] = []
        """At each decision: seconds since the rehearsal began, how many there should be, and how many of them served."""
        self.drained = 0
        self.cut_off = 0
        """Requests that a replica still had when it went."""
        world.workers.set_elastic(MODEL)
        for _ in range(spec.first):
            self._serve(self._begin())
        world.agenda.every(DECIDE_SECONDS, self._decide)

    @property
    def size(self) -> int:
        """Replicas that cost something now."""
        return len(self._states)

    @property
    def most(self) -> int:
        """Replicas that it wanted at most."""
        return max((wanted for _, wanted, _ in self.sizes), default=0)

    @property
    def reversals(self) -> int:
        """How often it went down after it had gone up, or up after it had gone down."""
        sizes = [wanted for _, wanted, _ in self.sizes]
        moves = [after > before for before, after in pairwise(sizes) if after != before]
        return sum(one is not other for one, other in pairwise(moves))

    # what is decided

    def _decide(self) -> None:
        self._pay()
        for name in [name for name, state in self._states.items() if state is ReplicaState.DRAINING]:
            self._stop_if_idle(name)
        plan = self._autoscaler.decide(self._observed())
        self._note(plan)
        for _ in range(plan.start):
            name = self._begin()
            self._world.agenda.after(self._spec.cold_start_seconds, lambda name=name: self._serve(name))  # type: ignore[misc]  # bound now
        for name in plan.drain:
            self._leave(name)

    def _observed(self) -> Observation:
        fleet = self._world.workers
        replicas = []
        for name, state in self._states.items():
            member = fleet.member(name)
            replicas.append(ReplicaLoad(name, state, None if member is None else member.outstanding_tokens))
        return Observation(replicas, self._world.queue.demand(self._world.serving.average_output))

    def _note(self, plan: ScalePlan) -> None:
        ready = sum(state is ReplicaState.READY for state in self._states.values())
        self.sizes.append((self._world.agenda.now - self._world.started, plan.wanted, ready))

    # what is done

    def _begin(self) -> str:
        self._started += 1
        name = f"{self._spec.replica.name}-{self._started}"
        self._states[name] = ReplicaState.STARTING
        return name

    def _serve(self, name: str) -> None:
        if name not in self._states:
            return  # given up while it started
        self._states[name] = ReplicaState.READY
        self._world.join(Machine(replace(self._spec.replica, name=name), self._world.agenda))

    def _leave(self, name: str) -> None:
        if self._states[name] is ReplicaState.STARTING:
            del self._states[name]
            return
        self._states[name] = ReplicaState.DRAINING
        self.drained += 1
        self._world.drain(name)

    def _stop_if_idle(self, name: str) -> None:
        member = self._world.workers.member(name)
        if member is not None and member.in_flight:
            return
        self.cut_off += not self._world.machines[name].idle
        self._world.leave(name)
        del self._states[name]

    def _pay(self) -> None:
        now = self._world.agenda.now
        self.replica_seconds += len(self._states) * (now - self._paid_until)
        self.awake_seconds += now - self._paid_until if self._states else 0.0
        self._paid_until = now
