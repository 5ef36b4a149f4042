"""The gateway dials the worker over HTTP/1.1."""

import asyncio

from penstock.domain.inference import api_path
from penstock.domain.ports import ResponseSink, TransportFactory, UpstreamCall
from penstock.domain.workers import WorkerRecord
from penstock.net.dialer import Dialer
from penstock.net.outbox import Outbox
from penstock.net.proxy import Proxy
from penstock.net.reach import Reach
from penstock.net.upstream_tls import upstream_tls
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
        known = self.worker
        same = (known.base_url, known.secret, known.access) == (worker.base_url, worker.secret, worker.access)
        if same:
            self.worker = worker
        return same

    def head(self, path: str) -> bytes:
        head = self._heads.get(path)
        if head is None:
            head = self._heads[path] = self._write_head(path)
        return head

    def _write_head(self, path: str) -> bytes:
        access, dialer = self.worker.access, self.dialer
        target = dialer.origin + api_path(dialer.path_prefix, path)
        if access.query:
            target += f"?{access.query}"
        lines = [
            f"POST {target} HTTP/1.1",
            f"host: {dialer.host_header}",
            "content-type: application/json",
            "accept-encoding: identity",
        ]
        if self.worker.secret and not access.replaces_bearer:
            lines.append(f"authorization: Bearer {self.worker.secret}")
        if dialer.origin and access.proxy and (authorization := Proxy.of(access.proxy).authorization):
            lines.append(f"proxy-authorization: {authorization}")
        lines += [f"{name}: {value}" for name, value in access.all_headers]
        return ("\r\n".join(lines) + "\r\nx-request-id: ").encode("latin-1")


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
        access, tls = worker.access, None
        if worker.base_url.startswith("https"):
            tls = upstream_tls(access.ca, access.client_certificate, access.client_key)
        dialer = Dialer(
            worker.base_url,
            self._connect_seconds,
            tls=tls,
            idle_connections=self._connections,
            outbox=self._outbox,
            reach=self.reach_of(worker),
            proxy=Proxy.of(access.proxy) if access.proxy else None,
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
