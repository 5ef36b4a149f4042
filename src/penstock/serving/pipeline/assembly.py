"""The pipeline with its collaborators, put together in one way for a gateway, a rehearsal and the tests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from penstock.catalog.models import Catalogue
from penstock.domain.clock import Clock
from penstock.domain.ports import Quotas, Transport, UsageJournal
from penstock.serving.admission.gate import Gate
from penstock.serving.admission.guards import Guard
from penstock.serving.admission.idempotency import IdempotentAnswers
from penstock.serving.admission.limits import LEAST_BYTES_PER_MINUTE
from penstock.serving.explain.ring import DecisionRing
from penstock.serving.pipeline.collaborators import DECISION_BYTES, Collaborators, Observer, PipelineRules
from penstock.serving.pipeline.pipeline import Pipeline
from penstock.serving.pipeline.stages import Stage
from penstock.serving.routing.choice import PolicyNames, RoutingPolicies
from penstock.serving.routing.retry_budget import RetryBudget
from penstock.serving.routing.worker_set import RoutingRules, WorkerSet


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lies outside the pipeline: where requests go, where usage is noted, who counts, and what time it is."""

    transport: Transport
    journal: UsageJournal
    observer: Observer
    quotas: Quotas
    clock: Clock
    random: Random
    """Breaks ties between workers."""
    chance: Callable[[], float] = lambda: 1.0
    """Draws from [0, 1) whether a batch request is shed before the queue is full; 1.0: none is."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """What a process decides when it starts; the policy in force may change all through its life."""

    rules: PipelineRules = PipelineRules()
    routing: RoutingRules = field(default_factory=RoutingRules)
    policy_names: PolicyNames = field(default_factory=PolicyNames)
    answers: IdempotentAnswers = field(default_factory=IdempotentAnswers)
    new_budget: Callable[[], RetryBudget] = RetryBudget
    decision_bytes: int = DECISION_BYTES
    least_body_bytes_per_minute: int = LEAST_BYTES_PER_MINUTE
    guards: tuple[Guard, ...] = ()
    stages: tuple[Stage, ...] = ()


def assemble(around: Surroundings, options: PipelineOptions, catalogue: Catalogue | None = None) -> tuple[Pipeline, Collaborators]:
    """A pipeline without workers. Without a catalogue it knows no prices and no aliases."""
    least_bytes = options.least_body_bytes_per_minute
    deps = Collaborators(
        gate=Gate(around.quotas, options.guards, least_bytes_per_minute=least_bytes),
        task_gate=Gate(around.quotas, options.guards, least_bytes_per_minute=least_bytes, what="requests of tasks"),
        workers=WorkerSet(RoutingPolicies(around.random, options.policy_names), options.routing, around.clock),
        catalogue=catalogue or Catalogue(),
        transport=around.transport,
        journal=around.journal,
        answers=options.answers,
        observer=around.observer,
        clock=around.clock,
        rules=options.rules,
        new_budget=options.new_budget,
        stages=options.stages,
        decisions=DecisionRing(options.decision_bytes),
        chance=around.chance,
    )
    return Pipeline(deps), deps
