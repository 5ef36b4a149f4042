"""Counting is plain numbers; a scrape turns them into Prometheus' text."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from penstock.domain.workers import WorkerState
from penstock.observe.metrics import BOUNDS, LONGEST_SERIES_LIST, OTHER, Exposition, Histogram, Metrics, bucket_of


@dataclass(frozen=True)
class OneWorker:
    state: WorkerState = WorkerState.READY
    ejected_until: float | None = None


class SmallFleet:
    def snapshot(self) -> Sequence[OneWorker]:
        return [OneWorker(), OneWorker(WorkerState.DEAD), OneWorker(ejected_until=9.0)]

    def queues(self) -> Mapping[str, int]:
        return {"small": 4}

    def in_flight(self) -> int:
        return 7


def scrape(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels."""
    text = Exposition(metrics, SmallFleet(), lambda: 12.5, "1.2.3").text().decode()
    return {
        sample.name + "".join(f",{name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_bucket_holds_what_is_at_most_its_bound() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS[0], BOUNDS[3], BOUNDS[3] * 1.01, 10_000.0):
        histogram.add(seconds)
    counts = dict(histogram.buckets())
    assert counts[repr(BOUNDS[0])] == 2
    assert counts[repr(BOUNDS[3])] == 3
    assert counts[repr(BOUNDS[4])] == 4
    assert counts[repr(BOUNDS[-1])] == 4
    assert counts["+Inf"] == 5


def test_a_request_in_a_scrape() -> None:
    metrics = Metrics()
    series = metrics.series("small", "chat", "flex")
    series.add(200, 0.5, 0.0, None, None, 0)
    series.add(503, 2.0, 1.5, None, None, 0)
    series.add(0, 0.1, 0.0, None, None, 0)
    series.ttft.add(0.25)
    series.prompt_tokens += 10
    series.completion_tokens += 20
    series.cached_tokens += 3
    series.retries += 1
    samples = scrape(metrics)
    labels = ",model=small,operation=chat,service_tier=flex"
    assert [samples[f"penstock_requests_total{labels},status={status}"] for status in ("2xx", "5xx", "left")] == [1, 1, 1]
    kinds = [f"penstock_tokens_total,kind={kind}{labels}" for kind in ("prompt", "completion", "cached")]
    assert [samples[name] for name in kinds] == [10, 20, 3]
    assert samples[f"penstock_retries_total{labels}"] == 1
    assert samples[f"penstock_request_duration_seconds_sum{labels}"] == 2.6
    assert samples[f"penstock_request_duration_seconds_count{labels}"] == 3
    assert samples[f"penstock_time_to_first_token_seconds_bucket,le=0.25{labels}"] == 1
    assert samples[f"penstock_queue_wait_seconds_bucket,le=+Inf{labels}"] == 3


def test_the_fleet_and_the_process_in_a_scrape() -> None:
    metrics = Metrics()
    metrics.refused["rate_limit_exceeded"] += 2
    metrics.ejections = 5
    metrics.journal_records = 6
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
        "penstock_control_requests_total,method=GET,route=/api/keys/{key_id},status=4xx": 1,
        "penstock_control_requests_total,method=other,route=,status=4xx": 1,
        "penstock_uptime_seconds": 12.5,
        "penstock_build_info,version=1.2.3": 1,
    }.items() <= samples.items()


def test_labels_are_never_a_key_or_a_person() -> None:
    metrics = Metrics()
    metrics.series("small", "chat", "default").add(200, 0.1, 0.0, None, None, 0)
    names = {part.partition("=")[0] for sample in scrape(metrics) for part in sample.split(",")[1:]}
    assert names <= {"model", "operation", "service_tier", "status", "kind", "le", "state", "code", "method", "route", "version"}


def test_the_number_of_series_is_bounded() -> None:
    metrics = Metrics()
    for number in range(LONGEST_SERIES_LIST + 500):
        metrics.series(f"model-{number}", "chat", "default").add(200, 0.1, 0.0, None, None, 0)
    assert len(metrics.all_series()) == LONGEST_SERIES_LIST + 1
    assert metrics.series("yet another", "chat", "default") is metrics.series(OTHER, "chat", "default")
    assert metrics.series(OTHER, "chat", "default").by_status[2] == 500


@given(st.floats(0.0, 2000.0) | st.sampled_from(BOUNDS))
def test_the_bucket_is_the_first_that_is_not_below(seconds: float) -> None:
    assert bucket_of(seconds) == bisect_left(BOUNDS, seconds)
