"""A connection that a gateway holds to each worker: lines of load while it lives; at its end no request has to wait for a time-out."""

import asyncio
from collections.abc import Callable

from penstock.domain.ports import TransportFailure
from penstock.domain.workers import WorkerLoad, WorkerRecord
from penstock.net.dialer import DialedCall, Dialer
from penstock.net.reach import Reach
from penstock.wire.joining.workers import ENGINE_AWAY, decode_line

_LONGEST_LINE_BYTES = 64 * 1024
_FIRST_RETRY_SECONDS = 0.1
_LAST_RETRY_SECONDS = 2.0


class WorkerLink:
    """Connects, listens, connects again, until it is closed. `on_sign(load, draining)` for every line, `on_lost(reason)` at a break."""

    def __init__(
        self,
        worker: WorkerRecord,
        on_sign: Callable[[WorkerLoad | None, bool], None],
        on_lost: Callable[[str], None],
        connect_seconds: float,
        silence_seconds: float,
        reach: Reach | None = None,
    ) -> None:
        """`reach`: where the worker may be; None: anywhere."""
        self._worker = worker
        self._on_sign = on_sign
        self._on_lost = on_lost
        self._connect_seconds = connect_seconds
        self._silence = silence_seconds
        self._reach = reach
        self._dialer: Dialer | None = None
        self._call: DialedCall | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._delay = _FIRST_RETRY_SECONDS
        self._rest = b""
        self._status = 0

    def open(self) -> None:
        self._dialer = Dialer(self._worker.base_url, self._connect_seconds, reach=self._reach)
        self._connect()
        self._check()

    def close(self) -> None:
        for timer in (self._timer, self._watch):
            if timer is not None:
                timer.cancel()
        if self._call is not None:
            self._call.cancel()
        if self._dialer is not None:
            self._dialer.close()

    def _connect(self) -> None:
        assert self._dialer is not None
        self._rest = b""
        head = (
            f"GET {self._dialer.path_prefix}/penstock/link HTTP/1.1\r\nhost: {self._dialer.host_header}\r\n"
            f"authorization: Bearer {self._worker.secret}\r\naccept: application/x-ndjson\r\n\r\n"
        )
        self._call = self._dialer.call(head.encode("ascii"), self)

    def _check(self) -> None:
        self._watch = asyncio.get_running_loop().call_later(1.0, self._check)
        if self._dialer is not None:
            self._dialer.check(self._silence, self._silence)

    def _reconnect_later(self, reason: str) -> None:
        self._on_lost(reason)
        self._timer = asyncio.get_running_loop().call_later(self._delay, self._connect)
        self._delay = min(self._delay * 2, _LAST_RETRY_SECONDS)

    # ResponseSink

    def answered(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.head(status, headers)
        self.data(body)
        self.end()

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._status = status

    def data(self, data: bytes) -> None:
        if self._status != 200:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            self._rest = b""
        for line in lines:
            self._read_line(line)

    def _read_line(self, text: bytes) -> None:
        line = decode_line(text)
        if line is None:
            return
        self._delay = _FIRST_RETRY_SECONDS
        self._on_sign(line.load(), line.draining)

    def end(self) -> None:
        if self._status == 503:
            self._reconnect_later(ENGINE_AWAY)
            return
        self._reconnect_later("it closed the connection" if self._status == 200 else f"it answered HTTP {self._status}")

    def failed(self, reason: TransportFailure) -> None:
        self._reconnect_later(reason.detail)
