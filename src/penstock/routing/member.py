"""One worker as this gateway knows it now: what it carries, how it is doing."""

from penstock.domain.workers import LEGAL_MOVES, WorkerLoad, WorkerRecord, WorkerState


class IllegalMove(Exception):
    """A worker cannot go from the one state to the other."""


class Member:
    """A worker of the fleet. Requests in flight and outstanding tokens are counted here, by the gateway, not asked of the engine."""

    __slots__ = (
        "ejected_until",
        "ejections",
        "engine_names",
        "failures_in_a_row",
        "id",
        "in_flight",
        "last_sign",
        "load",
        "outstanding_tokens",
        "record",
        "slots",
        "state",
    )

    def __init__(self, record: WorkerRecord, now: float) -> None:
        self.id = record.id
        self.adopt(record)
        self.state = WorkerState.JOINING
        self.load = WorkerLoad()
        self.in_flight = 0
        self.outstanding_tokens = 0
        self.last_sign = now
        """Monotonic seconds of the last sign of life."""
        self.failures_in_a_row = 0
        self.ejections = 0
        self.ejected_until = 0.0
        """Monotonic seconds; 0: not ejected."""

    @property
    def free(self) -> bool:
        return self.in_flight < self.slots

    def move(self, state: WorkerState) -> bool:
        """Go to `state`; False when it is there already. Raises IllegalMove."""
        if state is self.state:
            return False
        if state not in LEGAL_MOVES[self.state]:
            raise IllegalMove(f"{self.id}: {self.state} -> {state}")
        self.state = state
        return True

    def engine_name(self, model: str) -> str:
        """What the worker's engine calls the model."""
        return self.engine_names.get(model, model)

    def adopt(self, record: WorkerRecord) -> None:
        """Its record was edited."""
        self.record = record
        self.slots = record.slots
        self.engine_names = {offer.id: offer.engine_name for offer in record.models if offer.engine_name}
