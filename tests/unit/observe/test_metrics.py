"""Counting is plain numbers; a scrape turns them into Prometheus' text."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from penstock.domain.inference import Operation
from penstock.domain.outcome import RequestOutcome
from penstock.domain.principal import KeyActor, Plan, Principal, ServiceClass, ServiceTier
from penstock.domain.tokens import TokenCount
from penstock.domain.workers import WorkerState
from penstock.observe.metrics import LONGEST_SERIES_LIST, OTHER, Exposition, GatewayMetrics, MetricsObserver


@dataclass(frozen=True)
class OneWorker:
    state: WorkerState = WorkerState.READY
    ejected_until: float | None = None


class SmallFleet:
    def snapshot(self) -> Sequence[OneWorker]:
        return [OneWorker(), OneWorker(WorkerState.DEAD), OneWorker(ejected_until=9.0)]

    def queues(self, sees: Collection[str] = ()) -> Mapping[str, int]:
        return {"small": 4}

    def in_flight(self) -> int:
        return 7


def scrape(metrics: GatewayMetrics) -> dict[str, float]:
    """Every sample by its name and labels."""
    text = Exposition(metrics, SmallFleet(), lambda: 12.5, "1.2.3").text().decode()
    return {
        sample.name + "".join(f",{name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def outcome(status: int = 200, seconds: float = 0.1, *, queued: float = 0.0, **fields: Any) -> RequestOutcome:
    principal = Principal("org", KeyActor("key"), Plan("free", ServiceClass.FREE, ServiceTier.DEFAULT, (), 1, 1, 1), frozenset())
    return replace(
        RequestOutcome(
            request_id="req_1",
            principal=principal,
            service_class=ServiceClass.FREE,
            operation=Operation.CHAT,
            model="small",
            demand=None,
            pools=(),
            pool=None,
            tier="flex",
            worker_id="wrk_1",
            snapshot=None,
            waiting=0,
            queue_seconds=queued,
            tries=(),
            retries=0,
            arrived=100.0,
            first_token_at=None,
            ended=100.0 + seconds,
            started_at=0.0,
            status=status,
            code="",
            message="",
            count=None,
            limits=b"",
            timeout_seconds=None,
        ),
        **fields,
    )


def test_outcomes_are_counted_by_model_operation_and_tier() -> None:
    metrics = GatewayMetrics()
    observer = MetricsObserver(metrics)
    observer.record_outcome(outcome(200, 0.5, first_token_at=100.25, count=TokenCount(10, 20, 3), retries=1))
    observer.record_outcome(outcome(503, 2.0, queued=1.5))
    observer.record_outcome(outcome(0, 0.125))
    samples = scrape(metrics)
    labels = ",model=small,operation=chat,service_tier=flex"
    assert metrics.journal_records == 1, "one that used tokens"
    assert [samples[f"penstock_requests_total{labels},status={status}"] for status in ("2xx", "5xx", "left")] == [1, 1, 1]
    kinds = [f"penstock_tokens_total,kind={kind}{labels}" for kind in ("prompt", "completion", "cached")]
    assert [samples[name] for name in kinds] == [10, 20, 3]
    assert samples[f"penstock_retries_total{labels}"] == 1
    assert samples[f"penstock_request_duration_seconds_sum{labels}"] == 2.625
    assert samples[f"penstock_request_duration_seconds_count{labels}"] == 3
    assert samples[f"penstock_time_to_first_token_seconds_bucket,le=0.25{labels}"] == 1
    assert samples[f"penstock_queue_wait_seconds_bucket,le=+Inf{labels}"] == 3


def test_the_fleet_and_the_process_in_a_scrape() -> None:
    metrics = GatewayMetrics()
    metrics.refused["rate_limit_exceeded"] += 2
    metrics.ejections = 5
    metrics.journal_records = 6
    metrics.journal = lambda: (3, 4, 5)
    metrics.control_request("GET", "/api/keys/{key_id}", 404)
    metrics.control_request("BREW\r\nX", "", 405)
    samples = scrape(metrics)
    assert {
        "penstock_workers,state=ready": 2,
        "penstock_workers,state=dead": 1,
        "penstock_workers,state=joining": 0,
        "penstock_workers_ejected": 1,
        "penstock_queue_length,model=small": 4,
        "penstock_requests_in_flight": 7,
        "penstock_refused_total,code=rate_limit_exceeded": 2,
        "penstock_ejections_total": 5,
        "penstock_journal_records_total": 6,
        "penstock_journal_damaged_records_total": 3,
        "penstock_journal_refused_records_total": 4,
        "penstock_journal_backlog": 5,
        "penstock_control_requests_total,method=GET,route=/api/keys/{key_id},status=4xx": 1,
        "penstock_control_requests_total,method=other,route=,status=4xx": 1,
        "penstock_uptime_seconds": 12.5,
        "penstock_build_info,version=1.2.3": 1,
    }.items() <= samples.items()


def test_labels_are_never_a_key_or_a_person() -> None:
    metrics = GatewayMetrics()
    metrics.series("small", "chat", "default").record(outcome())
    names = {part.partition("=")[0] for sample in scrape(metrics) for part in sample.split(",")[1:]}
    assert names <= {"model", "operation", "service_tier", "status", "kind", "le", "state", "code", "method", "route", "version"}


def test_the_number_of_series_is_bounded() -> None:
    metrics = GatewayMetrics()
    for number in range(LONGEST_SERIES_LIST + 500):
        metrics.series(f"model-{number}", "chat", "default").record(outcome())
    assert len(metrics.all_series()) == LONGEST_SERIES_LIST + 1
    assert metrics.series("yet another", "chat", "default") is metrics.series(OTHER, "chat", "default")
    assert metrics.series(OTHER, "chat", "default").by_status[2] == 500


def test_models_that_only_tenants_have_are_one_series() -> None:
    metrics = GatewayMetrics()
    metrics.is_public = lambda model: model == "public"
    observer = MetricsObserver(metrics)
    for model in ("public", "secret-project-1", "secret-project-2"):
        observer.record_outcome(outcome(200, 0.5, model=model))
    assert sorted(model for model, _, _ in metrics.all_series()) == ["private", "public"]
    text = "".join(scrape(metrics))
    assert "secret" not in text
    assert scrape(metrics)["penstock_requests_total,model=private,operation=chat,service_tier=flex,status=2xx"] == 2
