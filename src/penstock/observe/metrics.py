"""What is counted, as plain numbers that cost the data plane next to nothing; Prometheus objects exist only while it scrapes."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from penstock.domain.histogram import Histogram
from penstock.domain.inference import OPERATION_NAMES
from penstock.domain.outcome import RequestOutcome
from penstock.domain.workers import WorkerState
from penstock.observe import queue_metrics
from penstock.serving.scheduling.counters import ClassQueueStatus

LONGEST_SERIES_LIST = 2_000
"""Beyond as many label sets further ones are counted as `other`: a scrape stays bounded however many models come and go."""
OTHER = "other"
PRIVATE = "private"
_OPERATIONS: Final = OPERATION_NAMES
_LABELS = ("model", "operation", "service_tier")


class Series:
    """The numbers of one model, operation and tier served. The data plane keeps it and adds to its fields."""

    __slots__ = ("by_status", "cached_tokens", "completion_tokens", "duration", "prompt_tokens", "queue", "retries", "ttft")

    def __init__(self) -> None:
        self.by_status = [0] * 6
        """Finished requests by the first digit of their status; 0: the client left before an answer began."""
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.cached_tokens = 0
        self.retries = 0
        """Attempts on another worker after the first one failed."""
        self.ttft = Histogram()
        self.duration = Histogram()
        self.queue = Histogram()

    def record(self, outcome: RequestOutcome) -> None:
        """All about one request, in one go: this runs for every one."""
        arrived, first_token_at, count = outcome.arrived, outcome.first_token_at, outcome.count
        self.by_status[outcome.status // 100] += 1
        self.duration.add(outcome.ended - arrived)
        self.queue.add(outcome.queue_seconds)
        if first_token_at is not None:
            self.ttft.add(first_token_at - arrived)
        if outcome.retries:
            self.retries += outcome.retries
        if count is not None:
            self.prompt_tokens += count.prompt
            self.completion_tokens += count.completion
            self.cached_tokens += count.cached


class WorkerStatus(Protocol):
    @property
    def state(self) -> WorkerState: ...
    @property
    def ejected_until(self) -> float | None: ...


class FleetStatus(Protocol):
    """What is read at the moment of a scrape."""

    def snapshot(self) -> Sequence[WorkerStatus]: ...
    def queues(self) -> Mapping[str, int]: ...
    def in_flight(self) -> int: ...


class GatewayMetrics:
    """Everything that this process counts. No key, user or organisation is a label, ever."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str, str], Series] = {}
        """What `series` has answered, by model, operation and tier served."""
        self._control: Counter[tuple[str, str, str]] = Counter()
        self.refused: Counter[str] = Counter()
        """Requests that admission or the queue refused, by error code."""
        self.ejections = 0
        self.policy_version = 0
        """Of the policy that this gateway follows."""
        self.journal_records = 0
        self.journal: Callable[[], tuple[int, int, int]] = lambda: (0, 0, 0)
        """Records of the journal that could not be read, records that the ledger refused, batches that wait for the ledger."""
        self.queue_status: Callable[[], Sequence[ClassQueueStatus]] = lambda: ()
        """Who waits, by model and class."""
        self.is_public: Callable[[str], bool] = lambda model: True
        """False for a model that only organisations' own workers serve: it is counted as `private`, with the others of its kind."""
        self.shadows: Callable[[], Mapping[str, tuple[int, int]]] = dict
        """By model: how often its shadow policy agreed with its policy, and how often it did not."""

    def series(self, model: str, operation: str, tier: str) -> Series:
        """The same object for the same labels. `model` is a known model's id, never what a client typed."""
        key = (model if self.is_public(model) else PRIVATE, operation, tier)
        found = self.known.get(key)
        if found is None:
            if len(self.known) >= LONGEST_SERIES_LIST:
                key = (OTHER, operation, tier)
            found = self.known.setdefault(key, Series())
        return found

    def control_request(self, method: str, route: str, status: int) -> None:
        """One answer of the control API; `route` is the route's template, not the path."""
        self._control[(method if method.isalpha() and len(method) < 8 else OTHER, route, f"{status // 100}xx")] += 1

    def all_series(self) -> Mapping[tuple[str, str, str], Series]:
        return self.known

    def control_requests(self) -> Mapping[tuple[str, str, str], int]:
        return self._control


class MetricsObserver:
    """Implements the pipeline's `Observer`: numbers for `/metrics`."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics

    def record_outcome(self, outcome: RequestOutcome) -> None:
        metrics, model, tier = self._metrics, outcome.model, outcome.tier
        operation = _OPERATIONS[outcome.operation]
        series = metrics.known.get((model, operation, tier)) or metrics.series(model, operation, tier)
        series.record(outcome)
        if outcome.count is not None:
            metrics.journal_records += 1

    def record_refusal(self, code: str) -> None:
        self._metrics.refused[code] += 1


class Exposition:
    """The text of one scrape, from a registry of its own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, metrics: GatewayMetrics, fleet: FleetStatus, uptime: Callable[[], float], version: str) -> None:
        self._metrics = metrics
        self._fleet = fleet
        self._uptime = uptime
        self._version = version

    def text(self) -> bytes:
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """prometheus-client's hook: the families of this scrape."""
        yield from self._requests()
        yield from self._durations()
        yield from self._fleet_gauges()
        yield from queue_metrics.families(self._metrics.queue_status())
        yield self._shadows()
        yield from self._process()

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("penstock_requests", "Finished inference requests.", labels=(*_LABELS, "status"))
        tokens = CounterMetricFamily("penstock_tokens", "Tokens metered.", labels=(*_LABELS, "kind"))
        retries = CounterMetricFamily("penstock_retries", "Attempts on another worker.", labels=_LABELS)
        for labels, series in self._metrics.all_series().items():
            for digit, count in enumerate(series.by_status):
                if count:
                    requests.add_metric((*labels, f"{digit}xx" if digit else "left"), count)
            for kind in ("prompt", "completion", "cached"):
                tokens.add_metric((*labels, kind), getattr(series, f"{kind}_tokens"))
            retries.add_metric(labels, series.retries)
        yield from (requests, tokens, retries)

    def _durations(self) -> Iterator[Metric]:
        for name, field, text in (
            ("penstock_time_to_first_token_seconds", "ttft", "From the request's arrival to its first token."),
            ("penstock_request_duration_seconds", "duration", "From the request's arrival to the end of its answer."),
            ("penstock_queue_wait_seconds", "queue", "Time spent waiting for a free slot."),
        ):
            family = HistogramMetricFamily(name, text, labels=_LABELS)
            for labels, series in self._metrics.all_series().items():
                histogram: Histogram = getattr(series, field)
                family.add_metric(labels, histogram.cumulative(), histogram.total_seconds)
            yield family

    def _fleet_gauges(self) -> Iterator[Metric]:
        snapshot = self._fleet.snapshot()
        states = Counter(worker.state for worker in snapshot)
        workers = GaugeMetricFamily("penstock_workers", "Workers by state.", labels=("state",))
        for state in WorkerState:
            workers.add_metric((state.value,), states[state])
        queue = GaugeMetricFamily("penstock_queue_length", "Requests waiting for a slot.", labels=("model",))
        for model, length in self._fleet.queues().items():
            queue.add_metric((model,), length)
        ejected = sum(worker.ejected_until is not None for worker in snapshot)
        yield from (workers, queue)
        yield GaugeMetricFamily("penstock_workers_ejected", "Workers ejected for failing.", value=ejected)
        yield GaugeMetricFamily("penstock_requests_in_flight", "Requests at workers.", value=self._fleet.in_flight())

    def _shadows(self) -> Metric:
        text = "Choices of a worker in which a shadow policy took part, by whether it would have chosen the same."
        decisions = CounterMetricFamily("penstock_shadow_decisions", text, labels=("model", "agreed"))
        for model, (agreed, differed) in self._metrics.shadows().items():
            decisions.add_metric((model, "true"), agreed)
            decisions.add_metric((model, "false"), differed)
        return decisions

    def _process(self) -> Iterator[Metric]:
        refused = CounterMetricFamily("penstock_refused", "Requests refused before a worker received them.", labels=("code",))
        for code, count in self._metrics.refused.items():
            refused.add_metric((code,), count)
        control = CounterMetricFamily("penstock_control_requests", "Answers of the control API.", labels=("method", "route", "status"))
        for labels, count in self._metrics.control_requests().items():
            control.add_metric(labels, count)
        yield from (refused, control)
        yield CounterMetricFamily("penstock_ejections", "Times that a worker was ejected.", value=self._metrics.ejections)
        yield CounterMetricFamily("penstock_journal_records", "Records appended to the usage journal.", value=self._metrics.journal_records)
        damaged, unaccepted, backlog = self._metrics.journal()
        text = "Usage records on the disk that were damaged; their files are kept in the journal's folder `damaged`."
        yield CounterMetricFamily("penstock_journal_damaged_records", text, value=damaged)
        text = "Usage records that the ledger refused; their files are tried again at the next start."
        yield CounterMetricFamily("penstock_journal_refused_records", text, value=unaccepted)
        yield GaugeMetricFamily("penstock_journal_backlog", "Batches of usage that the ledger has not taken yet.", value=backlog)
        yield GaugeMetricFamily("penstock_policy_version", "Version of the policy that is followed.", value=self._metrics.policy_version)
        yield GaugeMetricFamily("penstock_uptime_seconds", "Seconds since this gateway started.", value=self._uptime())
        info = GaugeMetricFamily("penstock_build_info", "The version that runs, as a label.", labels=("version",))
        info.add_metric((self._version,), 1)
        yield info
