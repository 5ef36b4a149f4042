"""The metrics of those who wait for a slot, by class."""

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from penstock.serving.scheduling.tally import ClassStanding, Tally


def families(standings: Sequence[ClassStanding]) -> Iterator[Metric]:
    """Metric families of the queues, by model and service class; made during a scrape only."""
    waiting = GaugeMetricFamily("penstock_class_waiting", "Requests waiting for a slot.", labels=("model", "service_class"))
    by_model: Counter[tuple[str, str]] = Counter()
    tallies: dict[str, Tally] = {}
    for standing in standings:
        by_model[standing.model, standing.service_class] += standing.waiting
        tallies.setdefault(standing.service_class, Tally()).add(standing.tally)
    for labels, count in by_model.items():
        waiting.add_metric(labels, count)
    yield waiting
    waits = HistogramMetricFamily(
        "penstock_class_wait_seconds", "Time that requests waited for a slot, of those that had to.", labels=("service_class",)
    )
    shed = CounterMetricFamily("penstock_shed", "Requests that were not served, by why.", labels=("service_class", "reason"))
    preempted = CounterMetricFamily("penstock_preempted", "Requests put back in line for others.", labels=("service_class",))
    for service_class, tally in tallies.items():
        waits.add_metric((service_class,), tally.waits.cumulative(), tally.waits.total_seconds)
        for reason, count in tally.shed.items():
            shed.add_metric((service_class, reason.value), count)
        preempted.add_metric((service_class,), tally.preempted)
    yield from (waits, shed, preempted)
