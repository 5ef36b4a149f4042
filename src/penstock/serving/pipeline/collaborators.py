"""What a request needs on its way, in one place: the rooms that `app` introduces to the pipeline, and its rules."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from penstock.catalog.models import Catalogue
from penstock.domain.clock import Clock
from penstock.domain.models import Price
from penstock.domain.outcome import RequestOutcome
from penstock.domain.ports import Transport, UsageJournal
from penstock.domain.principal import Pool
from penstock.serving.admission.gate import Gate
from penstock.serving.admission.idempotency import IdempotentAnswers
from penstock.serving.explain.ring import DecisionRing
from penstock.serving.pipeline.stages import Stage
from penstock.serving.routing.retry_budget import RetryBudget
from penstock.serving.routing.serving import Serving
from penstock.serving.routing.worker_set import WorkerSet
from penstock.serving.scheduling.request_queue import RequestQueue
from penstock.serving.scheduling.rules import RULES, QueueRules
from penstock.wire.chat.relay import model_pattern

_MOST_ROUTES: Final = 10_000
DECISION_BYTES: Final = 16 << 20


class Observer(Protocol):
    """Hears how requests ended; counts, never waits."""

    def record_outcome(self, outcome: RequestOutcome) -> None:
        """A request that a worker was asked to do has ended."""
        ...

    def record_refusal(self, code: str) -> None:
        """A request was refused before any worker saw it; `code`: the error's."""
        ...


class Preemptible(Protocol):
    """A batch request, as those see it for whom it may have to make room."""

    def preempt_for(self, pools: tuple[Pool, ...], excluded: frozenset[str], now: float) -> bool:
        """Give its slot back, if nothing of its answer has come and a request of these pools could be there; False: it stays."""
        ...


@dataclass(frozen=True, slots=True)
class PipelineRules:
    max_json_depth: int = 64
    default_max_tokens: int = 512
    """Reserved when the client sets no limit."""
    queue_limit: int = 1024
    max_wait_seconds: float = 120.0
    keepalive_after_seconds: float = 2.0
    keepalive_every_seconds: float = 15.0
    most_attempts: int = 3
    largest_event_bytes: int = 16 << 20
    largest_reply_bytes: int = 64 << 20
    slow_request_seconds: float = 30.0
    log_requests: bool = False
    """A log line for every request that a worker answered."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a model's name leads for an organisation."""

    model: str
    """The catalogue's id."""
    serving: Serving
    queue: RequestQueue
    price: Price
    budget: RetryBudget


@dataclass
class Collaborators:
    """`catalogue` is replaced as a whole when a model was edited; everything else stays."""

    gate: Gate
    task_gate: Gate
    """For the calls of tasks and batches: the same limits, but what runs is counted apart."""
    workers: WorkerSet
    catalogue: Catalogue
    transport: Transport
    journal: UsageJournal
    answers: IdempotentAnswers
    observer: Observer
    clock: Clock
    rules: PipelineRules = PipelineRules()
    decisions: DecisionRing = field(default_factory=lambda: DecisionRing(DECISION_BYTES))
    new_budget: Callable[[], RetryBudget] = RetryBudget
    """Makes the retry budget of a model's workers, which nothing else shares: one organisation's broken workers are not another's."""
    budgets: dict[Serving, RetryBudget] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    """In the order in which a request passes them."""
    queues: dict[Serving, RequestQueue] = field(default_factory=dict)
    routes: dict[tuple[str, str], Route] = field(default_factory=dict)
    """What names have led to, by name and organisation, since anything was last edited."""
    renames: dict[tuple[str, str], tuple[re.Pattern[bytes], bytes]] = field(default_factory=dict)
    batch: dict[Serving, dict[Preemptible, None]] = field(default_factory=dict)
    """Batch requests that were sent to a worker and are not over, by when they were sent."""
    queue_rules: QueueRules = RULES
    """By the policy in force (`serving/pipeline/policy.py`)."""
    preempt_batch: bool = True
    chance: Callable[[], float] = lambda: 1.0
    """Draws from [0, 1) whether a batch request is shed before the queue is full; without one, none is."""

    def __post_init__(self) -> None:
        # Bound once: asked several times for every request.
        self.monotonic = self.clock.monotonic
        self.time = self.clock.time

    def route(self, name: str, org_id: str) -> Route | None:
        """None: no worker serves it, and none would be started."""
        found = self.routes.get((name, org_id))
        if found is not None:
            return found
        model = self.catalogue.resolve(name)
        serving = self.workers.serving(model, org_id)
        if serving is None or not (serving.known or serving.elastic):
            return None
        if len(self.routes) >= _MOST_ROUTES:
            self.routes.clear()
        route = self.routes[name, org_id] = Route(model, serving, self.queue(serving), self.catalogue.price(model), self.budget(serving))
        return route

    def note_batch(self, serving: Serving, flight: Preemptible) -> None:
        """It is at a worker; the last that was noted is the newest."""
        running = self.batch.get(serving)
        if running is None:
            running = self.batch[serving] = {}
        running.pop(flight, None)
        running[flight] = None

    def forget_batch(self, serving: Serving, flight: Preemptible) -> None:
        """It is over."""
        running = self.batch.get(serving)
        if running is not None:
            running.pop(flight, None)
            if not running:
                del self.batch[serving]

    def displace_batch(self, serving: Serving, pools: tuple[Pool, ...], excluded: frozenset[str], now: float) -> None:
        """Of the batch requests that have not answered yet and are where one of these pools could be, the newest goes back to the queue."""
        for other in reversed(list(self.batch.get(serving, ()))):
            if other.preempt_for(pools, excluded, now):
                return

    def adopt(self, catalogue: Catalogue) -> None:
        """Models were edited."""
        self.catalogue = catalogue
        self.routes.clear()

    def budget(self, serving: Serving) -> RetryBudget:
        budget = self.budgets.get(serving)
        if budget is None:
            budget = self.budgets[serving] = self.new_budget()
        return budget

    @property
    def active(self) -> int:
        """Requests that were admitted and are not over."""
        return sum(budget.active for budget in self.budgets.values())

    @property
    def retrying(self) -> int:
        """Retries of requests that are not over."""
        return sum(budget.retrying for budget in self.budgets.values())

    def queue(self, serving: Serving) -> RequestQueue:
        queue = self.queues.get(serving)
        if queue is None:
            queue = self.queues[serving] = RequestQueue(
                self.rules.queue_limit, rules=self.queue_rules, chance=self.chance, prefill_seconds=serving.prefill_seconds
            )
        return queue

    def rename(self, engine_name: str, model: str) -> tuple[re.Pattern[bytes], bytes]:
        """How an engine's own name of a model becomes the public one in its answers."""
        pair = self.renames.get((engine_name, model))
        if pair is None:
            # A function would be safer against backslashes than a template, but a JSON string has them only escaped.
            replacement = b'"model":' + msgspec.json.encode(model).replace(b"\\", b"\\\\")
            pair = self.renames[engine_name, model] = (model_pattern(engine_name), replacement)
        return pair
