"""The gateway dials the worker over HTTP/1.1."""

import asyncio
import ssl

from penstock.domain.ports import ResponseSink, TransportFactory, UpstreamCall
from penstock.domain.workers import WorkerRecord
from penstock.net.dialer import Dialer
from penstock.net.outbox import Outbox
from penstock.net.reach import Reach
from penstock.wire.decimals import decimal


class _Route:
    """All that is known beforehand of a request to one worker: its dialer and, by path, the head up to the request id."""

    __slots__ = ("_heads", "dialer", "worker")

    def __init__(self, worker: WorkerRecord, dialer: Dialer) -> None:
        self.worker = worker
        self.dialer = dialer
        self._heads: dict[str, bytes] = {}

    def adopt(self, worker: WorkerRecord) -> bool:
        """Whether the worker's new record leads to the same place with the same secret."""
        same = (self.worker.base_url, self.worker.secret) == (worker.base_url, worker.secret)
        if same:
            self.worker = worker
        return same

    def head(self, path: str) -> bytes:
        head = self._heads.get(path)
        if head is None:
            head = self._heads[path] = self._write_head(path)
        return head

    def _write_head(self, path: str) -> bytes:
        lines = [
            f"POST {self.dialer.path_prefix}{path} HTTP/1.1",
            f"host: {self.dialer.host_header}",
            "content-type: application/json",
            "accept-encoding: identity",
        ]
        if self.worker.secret:
            lines.append(f"authorization: Bearer {self.worker.secret}")
        return ("\r\n".join(lines) + "\r\nx-request-id: ").encode("ascii")


class HttpTransport:
    """Connections to every worker, kept alive, with time-outs for silence before and within an answer."""

    def __init__(
        self,
        connect_seconds: float = 5.0,
        first_byte_seconds: float = 300.0,
        between_chunks_seconds: float = 60.0,
        connections_per_worker: int = 512,
        outbox: Outbox | None = None,
        tenant_reach: Reach | None = None,
    ) -> None:
        """`tenant_reach`: where workers of organisations may be; None: anywhere."""
        self._connect_seconds = connect_seconds
        self._first_byte_seconds = first_byte_seconds
        self._between_chunks_seconds = between_chunks_seconds
        self._connections = connections_per_worker
        self._outbox = outbox or Outbox()
        self._tenant_reach = tenant_reach
        self._routes: dict[str, _Route] = {}
        self._retired: list[Dialer] = []
        self._tls: ssl.SSLContext | None = None
        self._watch: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Begin to watch for silence; needs a running loop."""
        self._tick()

    def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        for worker_id in list(self._routes):
            self.forget(worker_id)

    def send(self, worker: WorkerRecord, path: str, request_id: str, body: bytes, sink: ResponseSink) -> UpstreamCall:
        route = self._routes.get(worker.id)
        if route is None or (route.worker is not worker and not route.adopt(worker)):
            route = self._new_route(worker)
        request = b"%b%b\r\ncontent-length: %b\r\n\r\n%b" % (route.head(path), request_id.encode("ascii"), decimal(len(body)), body)
        return route.dialer.call(request, sink)

    def forget(self, worker_id: str) -> None:
        route = self._routes.pop(worker_id, None)
        if route is not None:
            route.dialer.close()
            self._retired.append(route.dialer)

    def reach_of(self, worker: WorkerRecord) -> Reach | None:
        """Where this worker may be; None: anywhere, because the operator has added it."""
        return None if worker.org_id is None else self._tenant_reach

    def _new_route(self, worker: WorkerRecord) -> _Route:
        self.forget(worker.id)
        if self._tls is None and worker.base_url.startswith("https"):
            self._tls = ssl.create_default_context()
        dialer = Dialer(
            worker.base_url,
            self._connect_seconds,
            tls=self._tls,
            idle_connections=self._connections,
            outbox=self._outbox,
            reach=self.reach_of(worker),
        )
        route = self._routes[worker.id] = _Route(worker, dialer)
        return route

    def _tick(self) -> None:
        shortest = min(self._first_byte_seconds, self._between_chunks_seconds)
        self._watch = asyncio.get_running_loop().call_later(min(1.0, shortest / 4), self._tick)
        self._retired = [dialer for dialer in self._retired if dialer.busy]
        for dialer in [route.dialer for route in self._routes.values()] + self._retired:
            dialer.check(self._first_byte_seconds, self._between_chunks_seconds)


MEMBER: TransportFactory = HttpTransport
