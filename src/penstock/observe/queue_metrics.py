"""The metrics of the requests that wait for a slot, by class."""

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from penstock.serving.scheduling.counters import ClassCounters, ClassQueueStatus


def families(statuses: Sequence[ClassQueueStatus]) -> Iterator[Metric]:
    """Metric families of the queues, by model and service class; made during a scrape only."""
    waiting = GaugeMetricFamily("penstock_class_waiting", "Requests waiting for a slot.", labels=("model", "service_class"))
    by_model: Counter[tuple[str, str]] = Counter()
    counters_by_class: dict[str, ClassCounters] = {}
    for status in statuses:
        by_model[status.model, status.service_class] += status.waiting
        counters_by_class.setdefault(status.service_class, ClassCounters()).add(status.counters)
    for labels, count in by_model.items():
        waiting.add_metric(labels, count)
    yield waiting
    waits = HistogramMetricFamily(
        "penstock_class_wait_seconds", "Time that requests waited for a slot, of those that had to.", labels=("service_class",)
    )
    shed = CounterMetricFamily("penstock_shed", "Requests that were not served, by reason.", labels=("service_class", "reason"))
    preempted = CounterMetricFamily(
        "penstock_preempted", "Requests put back into the queue in favour of others.", labels=("service_class",)
    )
    for service_class, counters in counters_by_class.items():
        waits.add_metric((service_class,), counters.waits.cumulative(), counters.waits.total_seconds)
        for reason, count in counters.shed.items():
            shed.add_metric((service_class, reason.value), count)
        preempted.add_metric((service_class,), counters.preempted)
    yield from (waits, shed, preempted)
