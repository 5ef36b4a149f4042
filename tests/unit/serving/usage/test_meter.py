"""One request's meter: what it notes in the journal while a stream runs, and what at its end."""

from penstock.domain.call import Call
from penstock.domain.inference import Operation
from penstock.domain.models import Price
from penstock.domain.principal import KeyActor, Plan, Principal, Scope, ServiceClass, ServiceTier
from penstock.domain.tokens import TokenCount
from penstock.domain.usage import Outcome, UsageRecord
from penstock.serving.usage.meter import Meter

PLAN = Plan("premium", ServiceClass.PREMIUM, ServiceTier.DEFAULT, tuple(ServiceTier), 1, 1, 1)
PRINCIPAL = Principal("org_1", KeyActor("key_1"), PLAN, frozenset({Scope.INFERENCE}))
PRICE = Price(input_per_million=2_000_000, cached_input_per_million=1_000_000, output_per_million=5_000_000)
COUNT = TokenCount(prompt=100, completion=20, cached=40, reasoning=7, estimated=True)
STARTED, STARTED_WALL = 50.0, 1_700_000_000.0


class Journal:
    """Remembers in which order it was told what; it is its own slot."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def begin(self, record: UsageRecord) -> "Journal":
        self.told.append(("begin", record))
        return self

    def finish(self, record: UsageRecord) -> None:
        self.told.append(("finish", record))

    def update(self, prompt: int, completion: int, cached: int = 0, reasoning: int = 0, estimated: bool = False) -> None:
        self.told.append(("update", prompt, completion, cached, reasoning, estimated))

    def clear(self) -> None:
        self.told.append("clear")


def made(journal: Journal) -> Meter:
    call = Call("req_1", Operation.COMPLETION, b"", None, client_request_id="mine")
    return Meter(journal, PRINCIPAL, call, "m", PRICE, STARTED, STARTED_WALL)


def test_record_has_every_value_of_the_request_at_its_place() -> None:
    meter = made(Journal())
    meter.tier, meter.worker_id = "flex", "wrk_1"
    meter.queue_seconds, meter.retries, meter.first_token_at = 0.75, 2, STARTED + 1.5
    assert meter.record(Outcome.COMPLETED, COUNT, STARTED + 4.0) == UsageRecord(
        request_id="req_1",
        org_id="org_1",
        key_id="key_1",
        model="m",
        operation="text_completion",
        service_tier="flex",
        service_class="premium",
        worker_id="wrk_1",
        outcome=Outcome.COMPLETED,
        prompt_tokens=100,
        completion_tokens=20,
        cached_tokens=40,
        reasoning_tokens=7,
        estimated=True,
        cost_micros=130,  # half of 60 x 2 + 40 x 1 + 20 x 5
        started_at=STARTED_WALL,
        finished_at=STARTED_WALL + 4.0,
        ttft_ms=1500.0,
        queue_ms=750.0,
        retries=2,
        status=200,
        client_request_id="mine",
        currency=PRICE.currency,
    )


def test_request_that_was_not_placed_yet_has_no_tier_and_no_worker() -> None:
    record = made(Journal()).record(Outcome.FAILED, TokenCount(0, 0), STARTED)
    assert (record.service_tier, record.worker_id, record.queue_ms, record.ttft_ms, record.retries) == ("", "", 0.0, 0.0, 0)


def test_stream_is_noted_before_its_first_bytes_as_one_to_be_recovered() -> None:
    journal = Journal()
    meter = made(journal)
    meter.open_stream(TokenCount(100, 0), STARTED + 1.0)
    assert journal.told == [("begin", meter.record(Outcome.RECOVERED, TokenCount(100, 0), STARTED + 1.0))]


def test_progress_of_a_stream_is_noted_in_its_slot() -> None:
    journal = Journal()
    meter = made(journal)
    meter.open_stream(TokenCount(100, 0), STARTED)
    meter.progress(100, 1, estimated=True)
    meter.progress(101, 2, estimated=False)
    assert journal.told[1:] == [("update", 100, 1, 0, 0, True), ("update", 101, 2, 0, 0, False)]


def test_end_of_a_stream_is_recorded_before_its_slot_is_cleared_once() -> None:
    journal = Journal()
    meter = made(journal)
    meter.open_stream(TokenCount(100, 0), STARTED)
    meter.close(Outcome.COMPLETED, COUNT, STARTED + 2.0)
    record = meter.record(Outcome.COMPLETED, COUNT, STARTED + 2.0)
    assert journal.told[1:] == [("finish", record), "clear"]
    meter.progress(100, 3, estimated=False)
    assert journal.told[3:] == [], "the slot may be another stream's by now"


def test_whole_reply_is_recorded_without_a_slot() -> None:
    journal = Journal()
    meter = made(journal)
    meter.progress(100, 1, estimated=False)
    meter.close(Outcome.COMPLETED, COUNT, STARTED + 2.0)
    assert journal.told == [("finish", meter.record(Outcome.COMPLETED, COUNT, STARTED + 2.0))]
