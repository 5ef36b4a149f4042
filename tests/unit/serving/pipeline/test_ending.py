"""What is told of a request that has ended: its headers, its outcome, its log line. Each value by name, from a record made by hand."""

import pytest
import structlog
from structlog.testing import LogCapture

from penstock.domain.call import Call
from penstock.domain.decisions import FailedTry
from penstock.domain.errors import ModelNotFound, Overloaded
from penstock.domain.inference import Operation
from penstock.domain.models import Price
from penstock.domain.outcome import RequestOutcome, RoutingSnapshot
from penstock.domain.principal import Pool
from penstock.domain.tokens import TokenCount
from penstock.domain.usage import Outcome
from penstock.serving.pipeline import ending, request_log
from penstock.serving.pipeline.collaborators import PipelineRules
from penstock.serving.pipeline.record import RequestRecord
from penstock.serving.usage.meter import Meter
from tests.unit.serving.pipeline.pipeline_bench import PipelineBench

ARRIVED = 100.0
SNAPSHOT = RoutingSnapshot(("power_of_two", "in_flight", "round_robin"), "", (), (), 1, {})
TRY = FailedTry("w0", "reset", 0.5, busy=False)
COUNT = TokenCount(3, 2)
WALL = 1_700_000_000.0


@pytest.fixture
def bench() -> PipelineBench:
    return PipelineBench(a=1)


def arrived(bench: PipelineBench, client_request_id: str = "") -> RequestRecord:
    call = Call("req_1", Operation.CHAT, b"{}", client_request_id=client_request_id)
    return RequestRecord(bench.principal, call, ARRIVED)


def placed(bench: PipelineBench, *, queue_seconds: float = 0.0, tries: tuple[FailedTry, ...] = ()) -> RequestRecord:
    record = arrived(bench)
    meter = Meter(bench.journal, bench.principal, record.call, "m", Price(), ARRIVED, WALL)
    meter.worker_id, meter.tier, meter.queue_seconds = "w1", "default", queue_seconds
    record.model, record.meter, record.snapshot, record.pool, record.tries = "m", meter, SNAPSHOT, Pool.OVERFLOW, tries
    return record


def noted(bench: PipelineBench) -> RequestOutcome:
    found = bench.deps.decisions.find("req_1")
    assert found is not None
    return found


CHOSEN = b";class=enterprise;pool=overflow;policy=power_of_two;worker=w1"


@pytest.mark.parametrize(
    ("queue_seconds", "tries", "effort"),
    [
        (0.0, (), b";wait=0;tries=1"),
        (0.25, (), b";wait=0.250;tries=1"),
        (0.0, (TRY,), b";wait=0.000;tries=2"),
        (0.25, (TRY, TRY), b";wait=0.250;tries=3"),
    ],
)
def test_decision_names_the_worker_its_policy_the_wait_and_the_tries(
    bench: PipelineBench, queue_seconds: float, tries: tuple[FailedTry, ...], effort: bytes
) -> None:
    assert ending.decision_summary(placed(bench, queue_seconds=queue_seconds, tries=tries)) == CHOSEN + effort


@pytest.mark.parametrize("missing", ["snapshot", "meter", "pool"])
def test_decision_of_a_request_without_a_worker_is_queued(bench: PipelineBench, missing: str) -> None:
    record = placed(bench)
    setattr(record, missing, None)
    assert ending.decision_summary(record) == b";class=enterprise;queued"


def test_refusal_names_the_error_the_wait_and_the_tries(bench: PipelineBench) -> None:
    record = arrived(bench, "mine")
    record.waiting, record.queued_at, record.tries = 4, ARRIVED + 1.0, (TRY,)
    lines = ending.refusal_headers(record, Overloaded("full"), ARRIVED + 1.5)
    decision = b"req_1;class=enterprise;refused=server_overloaded;wait=0.500;tries=1"
    assert lines == b"x-request-id: mine\r\nx-penstock-decision: %b\r\n" % decision


def test_refusal_of_a_request_that_was_not_queued_has_no_wait(bench: PipelineBench) -> None:
    lines = ending.refusal_headers(arrived(bench), ModelNotFound("no"), ARRIVED + 9.0)
    decision = b"req_1;class=enterprise;refused=model_not_found;wait=0.000;tries=0"
    assert lines == b"x-request-id: req_1\r\nx-penstock-decision: %b\r\n" % decision


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.COMPLETED, ""), (Outcome.CLIENT_LEFT, "client_left"), (Outcome.FAILED, "upstream_failed")]
)
def test_settled_request_is_observed_and_noted_with_its_code(bench: PipelineBench, outcome: Outcome, code: str) -> None:
    ending.settled(bench.deps, placed(bench, queue_seconds=0.25), outcome, COUNT, ARRIVED + 2.0)
    found = noted(bench)
    assert bench.observed.outcomes == [found]
    assert (found.status, found.code, found.message, found.count) == (200, code, "", COUNT)
    assert (found.arrived, found.ended, found.started_at, found.queue_seconds) == (ARRIVED, ARRIVED + 2.0, WALL, 0.25)
    assert (found.worker_id, found.tier, found.model, found.snapshot) == ("w1", "default", "m", SNAPSHOT)


@pytest.mark.parametrize(
    ("seconds", "log_requests", "event"),
    [(2.0, False, None), (2.0, True, "request"), (2.5, False, "slow_request"), (2.5, True, "slow_request")],
)
def test_request_over_the_slow_limit_is_logged_and_others_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, seconds: float, log_requests: bool, event: str | None
) -> None:
    bench = PipelineBench(0.0, PipelineRules(slow_request_seconds=2.0, log_requests=log_requests), a=1)
    captured = LogCapture()
    # A logger of its own: the module's may have been used, and with that fixed, by an earlier test.
    own = structlog.wrap_logger(None, processors=[captured], wrapper_class=structlog.make_filtering_bound_logger(0))
    monkeypatch.setattr(request_log, "log", own)
    ending.settled(bench.deps, placed(bench), Outcome.COMPLETED, COUNT, ARRIVED + seconds)
    logs = captured.entries
    assert [entry["event"] for entry in logs] == ([] if event is None else [event])
    assert [(entry["request_id"], entry["seconds"]) for entry in logs] == ([] if event is None else [("req_1", seconds)])


@pytest.mark.parametrize("asked", [True, False])
def test_failed_request_is_observed_when_a_worker_was_asked_and_always_noted(bench: PipelineBench, asked: bool) -> None:
    ending.failed(bench.deps, placed(bench), Overloaded("full"), ARRIVED + 2.0, asked=asked)
    found = noted(bench)
    assert (found.status, found.code, found.message, found.count) == (503, "server_overloaded", "full", None)
    assert bench.observed.outcomes == ([found] if asked else [])


def test_replayed_request_is_noted_with_the_status_of_the_first_and_not_observed(bench: PipelineBench) -> None:
    ending.replayed(bench.deps, arrived(bench), 201, ARRIVED + 2.0)
    found = noted(bench)
    assert (found.status, found.code, found.message, found.count, found.ended) == (201, "replayed", "", None, ARRIVED + 2.0)
    assert bench.observed.outcomes == []


def test_request_whose_client_left_the_queue_has_status_0_and_is_not_observed(bench: PipelineBench) -> None:
    ending.client_disconnected(bench.deps, arrived(bench), ARRIVED + 2.0)
    found = noted(bench)
    assert (found.status, found.code, found.message, found.count, found.ended) == (0, "client_left", "", None, ARRIVED + 2.0)
    assert bench.observed.outcomes == []


@pytest.mark.parametrize(
    ("waiting", "known", "count", "expected"),
    [
        (3, 0.0, None, 1.5),
        (0, 0.0, None, 0.0),
        (3, 0.0, COUNT, 0.0),
        (3, 0.75, None, 0.75),
        (3, 0.75, COUNT, 0.75),
    ],
)
def test_wait_of_a_request_refused_in_the_queue_ends_with_the_refusal(
    bench: PipelineBench, waiting: int, known: float, count: TokenCount | None, expected: float
) -> None:
    record = placed(bench, queue_seconds=known)
    record.waiting, record.queued_at = waiting, ARRIVED + 0.5
    if count is None:
        ending.failed(bench.deps, record, Overloaded("full"), ARRIVED + 2.0, asked=False)
    else:
        ending.settled(bench.deps, record, Outcome.COMPLETED, count, ARRIVED + 2.0)
    assert noted(bench).queue_seconds == expected


def test_start_of_a_request_without_a_meter_is_counted_back_from_its_end(bench: PipelineBench) -> None:
    wall = bench.clock.time()
    ending.failed(bench.deps, arrived(bench), Overloaded("full"), ARRIVED + 2.0, asked=False)
    found = noted(bench)
    assert (found.started_at, found.queue_seconds, found.retries, found.worker_id) == (wall - 2.0, 0.0, 0, "")
