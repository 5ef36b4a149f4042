"""One worker as this gateway knows it now: what it carries, how it is doing."""

from penstock.domain.workers import LEGAL_MOVES, WorkerLoad, WorkerRecord, WorkerState
from penstock.serving.routing.adaptive_limit import AdaptiveLimit, LimitRules
from penstock.serving.routing.upstream_rate import UpstreamRate, rate_of


class IllegalMove(Exception):
    """A worker cannot go from the one state to the other."""


class Member:
    """A worker of the fleet. Requests in flight and outstanding tokens are counted here, by the gateway, not asked of the engine."""

    __slots__ = (
        "adaptive",
        "back_since",
        "ejected_until",
        "ejections",
        "engine_names",
        "failures_in_a_row",
        "id",
        "in_flight",
        "incarnation",
        "last_sign",
        "limit",
        "load",
        "normalises",
        "outstanding_tokens",
        "rate",
        "record",
        "refused",
        "rested_until",
        "resting_until",
        "slots",
        "state",
        "state_since",
        "tensor_models",
        "unsupported",
        "warming_since",
    )

    def __init__(self, record: WorkerRecord, now: float, limits: LimitRules | None = None) -> None:
        self.id = record.id
        self.adaptive = None if limits is None else AdaptiveLimit(record.slots, limits)
        """None: its slots are its limit."""
        self.limit: int = record.slots
        """Requests that it gets at the same time: its slots, or fewer."""
        self.rate: UpstreamRate | None = None
        """Counts against what an upstream allows; None: no limit is known."""
        self.resting_until = 0.0
        """Monotonic seconds until which its rate limit allows no requests; 0: it does."""
        self.adopt(record, now)
        self.state = WorkerState.JOINING
        self.load = WorkerLoad()
        self.in_flight = 0
        self.outstanding_tokens = 0
        """Prompt tokens that it has yet to read and tokens that it is expected to make, for the requests that it has."""
        self.incarnation = 0
        """Rises when it comes back as a new process: requests of the old one count no more."""
        self.last_sign = now
        """Monotonic seconds of the last sign of life."""
        self.state_since = now
        """Monotonic seconds of its latest change of state."""
        self.refused = False
        """Its machine answered that nothing listens at its address."""
        self.failures_in_a_row = 0
        self.ejections = 0
        self.ejected_until = 0.0
        """Monotonic seconds; 0: not ejected."""
        self.unsupported: frozenset[str] = frozenset()
        """Parameters that its engine is known to drop without a word."""
        self.rested_until = 0.0
        """When its latest ejection ended or ends; 0: there was none."""
        self.back_since: float | None = None
        """Monotonic seconds of its latest return; None: it was never away."""
        self.warming_since: float | None = None
        """Monotonic seconds since when it is back; None: it gets as much as any other."""

    @property
    def free(self) -> bool:
        return self.in_flight < self.limit

    def move(self, state: WorkerState) -> bool:
        """Go to `state`; False when it is there already. Raises IllegalMove."""
        if state is self.state:
            return False
        if state not in LEGAL_MOVES[self.state]:
            raise IllegalMove(f"{self.id}: {self.state} -> {state}")
        self.state = state
        return True

    def relimit(self, warm: float = 1.0) -> bool:
        """Bring `limit` up to date, with that share of it while the worker warms up; True when it is another one now."""
        limit = self.slots if self.adaptive is None else int(self.adaptive.value)
        limit = max(1, int(limit * warm))
        changed = limit != self.limit
        self.limit = limit
        return changed

    def start_again(self) -> None:
        """It is a new process, with nothing of what the old one had."""
        self.incarnation += 1
        self.in_flight = self.outstanding_tokens = 0

    def engine_name(self, model: str) -> str:
        """What the worker's engine calls the model."""
        return self.engine_names.get(model, model)

    def adopt(self, record: WorkerRecord, now: float) -> None:
        """Its record was edited."""
        self.record = record
        self.normalises = record.access.normalise_reasoning
        """Reasoning in its answers gets one name."""
        self.rate = rate_of(record.access, self.rate, now)
        self.slots = record.slots
        if self.adaptive is not None:
            self.adaptive.resize(record.slots)
        self.relimit()
        self.engine_names = {offer.id: offer.engine_name for offer in record.models if offer.engine_name}
        self.tensor_models = frozenset(offer.id for offer in record.models if "infer" in offer.capabilities)
