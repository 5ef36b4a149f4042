"""What a bridge counts, for Prometheus and for the log."""

import threading
from collections.abc import Callable, Iterator, Mapping
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

StreamCounts = Mapping[str, float]

_HELP = {
    "taken": "Records that the broker handed out, repetitions included.",
    "created": "Tasks that were made.",
    "repeated": "Records whose task was there already.",
    "dead": "Records that became dead letters.",
    "published": "Finished tasks that were published.",
    "refusals": "Calls repeated because the broker or the gateway was not reached or overloaded.",
    "in_hand": "Records that are fetched and not acknowledged.",
}
_GAUGES = ("in_hand",)


class StreamMetrics:
    """`/metrics` on a loopback port, in a thread of its own. `counts` is asked at each look."""

    def __init__(self, stream: str, counts: Callable[[], StreamCounts]) -> None:
        self._stream = stream
        self._counts = counts
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    def open(self, port: int) -> None:
        """Raises OSError when the port is taken."""
        registry = CollectorRegistry()
        registry.register(self)
        self._server, self._thread = start_http_server(port, "127.0.0.1", registry)

    def close(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Of prometheus_client's collector protocol."""
        for name, value in self._counts().items():
            kind = GaugeMetricFamily if name in _GAUGES else CounterMetricFamily
            family = kind(f"penstock_stream_{name}", _HELP[name], labels=["stream"])
            family.add_metric([self._stream], value)
            yield family
