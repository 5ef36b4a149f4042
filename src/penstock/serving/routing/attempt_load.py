"""What one try of a request puts on its worker: counted when it is sent, less with every token, nothing when it is over; and what its
times tell of the worker."""

from typing import Final

from penstock.serving.routing.adaptive_limit import LatencyKind
from penstock.serving.routing.member import Member
from penstock.serving.routing.prefix import BLOCK_TOKENS, Prefix
from penstock.serving.routing.serving import Serving
from penstock.serving.routing.worker_set import WorkerSet

_STEP_TOKENS: Final = 16
"""A stream's share of the outstanding tokens is brought up to date after so many, not with every read."""


class AttemptLoad:
    # Most requests are whole replies: what only a stream changes is looked up on the class.
    _first_token_at: float | None = None

    def __init__(
        self, workers: WorkerSet, serving: Serving, member: Member, prompt_tokens: int, max_tokens: int, prefix: Prefix, now: float
    ) -> None:
        """Of a request that is about to be sent to `member`. The tokens are estimates; `now`: monotonic seconds."""
        self._workers = workers
        self._serving = serving
        self._member = member
        self._prefix = prefix
        self._incarnation = member.incarnation
        self.sent_at = now
        self.uncached_tokens = prompt_tokens
        # Its own limit, or what the model's requests have made of late.
        average = serving.average_output
        self._expected = max_tokens if average is None or average > max_tokens else int(average)
        self._left = 0

    def start(self) -> None:
        """Count it; from here on the worker is taken to hold the request's prefix."""
        if self._prefix:
            self.uncached_tokens = self._serving.uncached_at(self._member, self.uncached_tokens, self._prefix)
        self._left = self.uncached_tokens + self._expected
        self._serving.slot_taken(self._member, self._left)

    def first_token(self, now: float) -> None:
        """The prompt has been read."""
        self._first_token_at = now
        # A prompt shorter than a block counts as one: its time is not spent on reading.
        self._workers.record_latency(self._member, LatencyKind.FIRST_TOKEN, now - self.sent_at, max(BLOCK_TOKENS, self.uncached_tokens))
        self._fall(self._expected)

    def progress(self, tokens: int) -> None:
        """So many tokens have come so far."""
        left = self._expected - tokens
        if self._left - left >= _STEP_TOKENS:
            self._fall(left if left > 0 else 0)

    def complete(self, tokens: int, now: float) -> None:
        """The worker did all of it, and made so many tokens."""
        workers, member = self._workers, self._member
        if member.failures_in_a_row or member.ejections:
            workers.succeeded(member)
        if member.in_flight * 2 >= member.limit:
            if self._first_token_at is not None:
                workers.record_latency(member, LatencyKind.OUTPUT_TOKEN, now - self._first_token_at, tokens - 1)
            else:
                workers.record_latency(member, LatencyKind.WHOLE, now - self.sent_at, tokens or self.uncached_tokens)
        self._serving.made(tokens)

    def release(self) -> None:
        """It is over, however it went."""
        self._serving.slot_released(self._member, self._left, self._incarnation)

    def _fall(self, left: int) -> None:
        if left < self._left and self._incarnation == self._member.incarnation:
            self._member.outstanding_tokens -= self._left - left
        self._left = min(left, self._left)
