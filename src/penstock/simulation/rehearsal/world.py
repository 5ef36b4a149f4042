"""A gateway's inside, whole and real, between simulated clients and simulated workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from structlog.testing import capture_logs

from penstock.domain.call import Call
from penstock.domain.inference import Operation
from penstock.domain.policy import Policy
from penstock.domain.principal import KeyActor, Plan, Principal, Scope, ServiceClass, ServiceTier
from penstock.domain.workers import WorkerState
from penstock.serving.pipeline import PipelineOptions, PipelineRules, Surroundings, assemble
from penstock.serving.pipeline.pipeline import TICK_SECONDS
from penstock.serving.pipeline.policy import apply
from penstock.serving.routing.choice import PolicyNames
from penstock.serving.routing.serving import Serving
from penstock.serving.routing.worker_set import RoutingRules
from penstock.serving.scheduling.request_queue import RequestQueue
from penstock.simulation.rehearsal.agenda import Agenda
from penstock.simulation.rehearsal.bodies import MODEL, body
from penstock.simulation.rehearsal.machine import Machine, Machines, MachineSpec
from penstock.simulation.rehearsal.outcomes import NotedJournal, NotedReply, RequestResult, Unobserved
from penstock.simulation.rehearsal.traffic import PlannedRequest
from penstock.storage.state.memory import MemoryQuotas

_ENDLESS = 10**12
HEARTBEAT_SECONDS = 5.0
SWEEP_SECONDS = 1.0


@dataclass(frozen=True)
class Setup:
    """What stands around the traffic."""

    machines: tuple[MachineSpec, ...]
    choose_by: str = "power_of_two"
    """A member of the family `routing/policies`, where the policy names none."""
    policy: Policy = field(default_factory=Policy)
    routing: RoutingRules = field(default_factory=RoutingRules)
    pipeline: PipelineRules = field(default_factory=PipelineRules)
    plans: Callable[[ServiceClass], Plan] = field(default=lambda each: plan(each))
    one_queue: bool = False
    """First come, first served: all requests in one class and one organisation. A baseline."""
    watched: bool = True
    """The gateway hears at once when a worker's process ends, as it does of workers that joined; of upstreams it hears nothing."""
    come_back: bool = False
    """Clients that are refused ask again, once `retry-after` has passed."""


def plan(service_class: ServiceClass) -> Plan:
    """Without limits of its own: what is rehearsed is the queue, not the rate limits."""
    return Plan(
        service_class.name.lower(), service_class, ServiceTier.DEFAULT, tuple(ServiceTier), _ENDLESS, _ENDLESS, _ENDLESS, spill=True
    )


class World:
    """Put things on the `agenda`, `play` the traffic, read `results`."""

    def __init__(self, setup: Setup, seed: int) -> None:
        self.setup = setup
        self.agenda = agenda = Agenda()
        self.started = agenda.now
        self._random = Random(seed)
        self.results: list[RequestResult] = []
        self._by_id: dict[str, RequestResult] = {}
        self._principals: dict[tuple[str, ServiceClass], Principal] = {}
        self.transport = Machines(lambda request_id: self._by_id[request_id].ask)
        self.machines = {spec.name: Machine(spec, agenda) for spec in setup.machines}
        around = Surroundings(
            transport=self.transport,
            journal=NotedJournal(self._by_id),
            observer=Unobserved(),
            quotas=MemoryQuotas(agenda),
            clock=agenda,
            random=Random(seed + 1),
            chance=Random(seed + 2).random,
        )
        options = PipelineOptions(setup.pipeline, setup.routing, PolicyNames(setup.choose_by))
        self.pipeline, self.deps = assemble(around, options)
        self.workers = self.deps.workers
        apply(setup.policy, self.deps)
        for machine in self.machines.values():
            self.join(machine)
        agenda.every(TICK_SECONDS, self.pipeline.expire_and_keep_alive)
        agenda.every(SWEEP_SECONDS, self.workers.sweep)
        agenda.every(HEARTBEAT_SECONDS, self._heartbeats)

    # workers

    def join(self, machine: Machine) -> None:
        self.machines[machine.name] = machine
        self.transport.add(machine)
        self.workers.put(machine.spec.record())
        self.workers.alive(machine.name)

    def drain(self, name: str) -> None:
        """It gets nothing new, and finishes what it has."""
        self.machines[name].draining = True
        self.workers.alive(name, draining=True)

    def leave(self, name: str) -> None:
        """Its process ends; what it still had is cut off."""
        machine = self.machines.pop(name)
        self.transport.remove(machine)
        machine.crash()
        self.workers.remove(name)

    def crash(self, name: str) -> None:
        machine = self.machines[name]
        if self.setup.watched:
            self.workers.lost(name)
        machine.crash()

    def restart(self, name: str) -> None:
        self.machines[name].restart()
        self.workers.alive(name)

    def _heartbeats(self) -> None:
        for machine in self.machines.values():
            if not machine.down:
                self.workers.alive(machine.name, draining=machine.draining)

    # traffic

    def play(self, asks: Sequence[PlannedRequest], until: float, stop: Callable[[], bool] = lambda: False) -> list[RequestResult]:
        """Send what is asked for, let `until` seconds pass in all (or until `stop`), and say what became of it."""
        for ask in asks:
            self.agenda.at(self.started + ask.at, lambda ask=ask: self._send(ask))  # type: ignore[misc]  # bound now
        # What fails is noted in the results; the pipeline's own lines about it would be thousands.
        with capture_logs():
            self.agenda.run(self.started + until, stop)
        return self.results

    def _send(self, ask: PlannedRequest) -> None:
        number = len(self.results)
        request_id = f"req_{number}"
        result = RequestResult(ask)
        self.results.append(result)
        self._by_id[request_id] = result
        call = Call(request_id, Operation.CHAT, body(number, ask, self._random), ask.timeout_seconds)
        self.pipeline.run(self._principal(ask), call, NotedReply(result, self.agenda.now, self.agenda))
        if self.setup.come_back and result.refused and result.retry_after_seconds is not None:
            self.agenda.after(result.retry_after_seconds, lambda: self._send(ask))

    def _principal(self, ask: PlannedRequest) -> Principal:
        org_id, each = ("all", ServiceClass.FREE) if self.setup.one_queue else (ask.org_id, ask.service_class)
        found = self._principals.get((org_id, each))
        if found is None:
            found = self._principals[org_id, each] = Principal(
                org_id, KeyActor(f"key_{org_id}_{each.name}"), self.setup.plans(each), frozenset({Scope.INFERENCE})
            )
        return found

    # what to look at

    @property
    def serving(self) -> Serving:
        serving = self.workers.serving(MODEL, None)
        assert serving is not None
        return serving

    @property
    def queue(self) -> RequestQueue:
        return self.deps.queue(self.serving)

    def state(self, name: str) -> WorkerState:
        member = self.workers.member(name)
        assert member is not None
        return member.state

    def leaks(self) -> dict[str, float]:
        """What should be 0 when all is over, and is not."""
        found: dict[str, float] = {"active": self.deps.active, "waiting": len(self.queue)}
        for member in self.workers.members():
            found |= {f"in flight at {member.id}": member.in_flight, f"tokens at {member.id}": member.outstanding_tokens}
        for each in ServiceClass:
            found |= {f"{each.name} of {org}": count for org, count in self.queue.counters(each).items()}
            found[f"deficit of {each.name}"] = self.queue.deficits[each]
        return {name: value for name, value in found.items() if value}
