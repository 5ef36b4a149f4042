"""What became of each request: noted where a client and the journal of a real gateway would see it."""

import re
from dataclasses import dataclass

from penstock.domain.clock import Clock
from penstock.domain.errors import PenstockError
from penstock.domain.outcome import RequestOutcome
from penstock.domain.usage import Outcome, UsageRecord
from penstock.simulation.rehearsal.traffic import PlannedRequest
from penstock.wire.sse import KEEPALIVE

_CODE = re.compile(rb'"code":\s*"(\w+)"')


@dataclass(slots=True)
class RequestResult:
    """One request. Seconds; None: it did not come so far."""

    ask: PlannedRequest
    status: int = 0
    """0: there was no answer when the rehearsal ended."""
    code: str = ""
    """Of the error; empty: none."""
    first_token_seconds: float | None = None
    seconds: float | None = None
    """Until its last byte, or until it was refused."""
    queue_seconds: float = 0.0
    worker_id: str = ""
    tries: int = 1
    cached_tokens: int = 0
    retry_after_seconds: float | None = None

    @property
    def completed(self) -> bool:
        return self.status == 200 and not self.code and self.seconds is not None

    @property
    def refused(self) -> bool:
        """Told to come back before it got anything: with a status, or, after 2 s in the queue, with an event."""
        return bool(self.code) and self.first_token_seconds is None

    @property
    def token_seconds(self) -> float | None:
        """Between two tokens of its stream, on average."""
        if not self.completed or self.first_token_seconds is None or self.seconds is None or self.ask.output_tokens < 2:
            return None
        return (self.seconds - self.first_token_seconds) / (self.ask.output_tokens - 1)


class NotedReply:
    """Implements `domain.ports.Reply`."""

    __slots__ = ("_now", "_started", "result")

    def __init__(self, result: RequestResult, started: float, clock: Clock) -> None:
        self.result = result
        self._started = started
        self._now = clock.monotonic

    def refuse(self, error: PenstockError, headers: bytes) -> None:
        self._end(error.status, error.code)
        self.result.retry_after_seconds = error.retry_after_seconds

    def send(self, status: int, headers: bytes, body: bytes) -> None:
        self._end(status, "")

    def start(self, status: int, headers: bytes) -> None:
        self.result.status = status

    def write(self, data: bytes) -> None:
        result = self.result
        if data.startswith(b'data: {"error"'):
            # After the status line an error can only be an event.
            found = _CODE.search(data)
            result.code = found[1].decode() if found else "broke_off"
        elif result.first_token_seconds is None and data != KEEPALIVE:
            result.first_token_seconds = self._now() - self._started

    def end(self) -> None:
        self._end(self.result.status, self.result.code)

    def _end(self, status: int, code: str) -> None:
        self.result.status, self.result.code = status, code
        self.result.seconds = self._now() - self._started


class NotedJournal:
    """Implements `domain.ports.UsageJournal`: the records of this rehearsal, by request."""

    def __init__(self, results: dict[str, RequestResult]) -> None:
        self._results = results
        self.records = 0

    def begin(self, record: UsageRecord) -> None:
        """No slot: nothing outlives a rehearsal."""

    def finish(self, record: UsageRecord) -> None:
        self.records += 1
        result = self._results[record.request_id]
        result.worker_id = record.worker_id
        result.queue_seconds = record.queue_ms / 1000
        result.tries = record.retries + 1
        result.cached_tokens = record.cached_tokens
        if record.outcome is Outcome.FAILED:
            result.code = "broke_off"


class Unobserved:
    """Implements `pipeline.collaborators.Observer`; what it would count is counted from the results."""

    def record_outcome(self, outcome: RequestOutcome) -> None: ...

    def record_refusal(self, code: str) -> None: ...
