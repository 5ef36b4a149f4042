"""What one request used: first token, tokens, waiting; noted in the journal while it runs and once at its end."""

from typing import Final

from msgspec.structs import replace

from penstock.domain.call import Call
from penstock.domain.inference import OPERATION_NAMES
from penstock.domain.models import Price
from penstock.domain.ports import JournalSlot, UsageJournal
from penstock.domain.principal import Principal, ServiceClass
from penstock.domain.tokens import Doubt, TokenCount
from penstock.domain.usage import Outcome, UsageRecord
from penstock.serving.usage.pricing import cost_micros

_BATCH: Final = ServiceClass.BATCH
_NAMES: Final = OPERATION_NAMES
_CLASS_NAMES: Final = {each: each.name.lower() for each in ServiceClass}


class Meter:
    """One request's meter. Times are monotonic seconds, but for `started_wall`."""

    first_token_at: float | None = None
    queue_seconds = 0.0
    retries = 0
    _slot: JournalSlot | None = None

    def __init__(
        self, journal: UsageJournal, principal: Principal, call: Call, model: str, price: Price, started: float, started_wall: float
    ) -> None:
        self._journal = journal
        self._principal = principal
        self._call = call
        self._model = model
        self._price = price
        self.started = started
        self.started_wall = started_wall
        self.tier = ""
        """The tier served, which is the one reported and billed; known once the request has been placed."""
        self.worker_id = ""

    def open_stream(self, count: TokenCount, now: float) -> None:
        """Before the first bytes of a stream leave: from here on a crash loses nothing."""
        self._slot = self._journal.begin(self.record(Outcome.RECOVERED, count, now))

    def progress(self, prompt: int, completion: int, *, estimated: bool) -> None:
        """Before the bytes that carry these tokens leave."""
        if self._slot is not None:
            self._slot.update(prompt, completion, 0, 0, estimated)

    def close(self, outcome: Outcome, count: TokenCount, now: float) -> None:
        """The true number, before the last bytes leave."""
        self._journal.finish(self.record(outcome, count, now))
        if self._slot is not None:
            self._slot.clear()
            self._slot = None

    def record(self, outcome: Outcome, count: TokenCount, now: float) -> UsageRecord:
        """By position: 26 keywords would cost 4 us a request; a test compares every field by its name."""
        principal, call = self._principal, self._call
        service_class = principal.plan.service_class if call.service_class is None else call.service_class
        record = UsageRecord(
            call.request_id,
            principal.org_id,
            principal.actor_id,
            self._model,
            _NAMES[call.operation],
            self.tier,
            _CLASS_NAMES[service_class],
            self.worker_id,
            outcome,
            count.prompt,
            count.completion,
            count.cached,
            count.reasoning,
            count.estimated,
            cost_micros(self._price, self.tier, count, service_class is _BATCH),
            self.started_wall,
            self.started_wall + (now - self.started),
            0.0 if self.first_token_at is None else (self.first_token_at - self.started) * 1000,
            self.queue_seconds * 1000,
            self.retries,
            200,
            call.client_request_id,
            False,
            0,
            0,
            self._price.currency,
        )
        return record if count.doubt is None else _doubted(record, count.doubt)


def _doubted(record: UsageRecord, doubt: Doubt) -> UsageRecord:
    """With what the engine reported, where that cannot be."""
    if not doubt.disputed:
        return record
    return replace(record, disputed=True, reported_prompt_tokens=doubt.prompt, reported_completion_tokens=doubt.completion)
