"""How one request ended, as one value: what the metrics count, what the log tells, and what explains later why it went as it did."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from penstock.domain.call import Demand
from penstock.domain.decisions import FailedTry
from penstock.domain.inference import Operation
from penstock.domain.principal import Pool, Principal, ServiceClass
from penstock.domain.tokens import NO_TOKENS, TokenCount


class Candidate(Protocol):
    """A worker among which was chosen."""

    @property
    def id(self) -> str: ...

    @property
    def slots(self) -> int: ...


class RoutingSnapshot(msgspec.Struct, frozen=True, gc=False):
    """What a worker was chosen from; made for every choice, hence references and numbers only."""

    labels: tuple[str, str, str]
    """The policy; what it compares (`outstanding_tokens`, `in_flight`, `cached_tokens` or `turn`); the shadow policy."""
    shadow_choice: str
    """The worker that the shadow policy would have chosen; empty: none."""
    candidates: Sequence[Candidate]
    """The first few of those that there were."""
    numbers: Sequence[int]
    """Three for each candidate, from just before the choice: requests in flight, outstanding tokens, its limit."""
    available: int
    """How many there were."""
    cached: Mapping[str, int]
    """Tokens of the prompt that each worker has probably cached, by its id."""

    @property
    def policy(self) -> str:
        return self.labels[0]

    @property
    def measure(self) -> str:
        return self.labels[1]

    @property
    def shadow(self) -> str:
        """Empty: none."""
        return self.labels[2]

    @property
    def limits(self) -> Sequence[int]:
        return self.numbers[2::3]


class RequestOutcome(msgspec.Struct, frozen=True, gc=False):
    """One request that has ended, answered or not. Without `gc`: there are thousands of them, and none refers to itself."""

    request_id: str
    principal: Principal
    service_class: ServiceClass
    operation: Operation
    model: str
    """The catalogue's id; empty: it was refused before that was known."""
    demand: Demand | None
    """None: it was refused before that was known."""
    pools: tuple[Pool, ...]
    """Where it might have been placed, in order of preference."""
    pool: Pool | None
    """Where it was last placed; None: nowhere."""
    tier: str
    """Of that pool; empty: it was not placed."""
    worker_id: str
    """The worker that was asked last; empty: none was."""
    snapshot: RoutingSnapshot | None
    """What that worker was chosen from."""
    waiting: int
    """Requests in the model's queue, itself included, when it was queued; 0: it was not."""
    queue_seconds: float
    tries: tuple[FailedTry, ...]
    """Attempts that failed."""
    retries: int
    """Attempts that the retry budget paid for: `tries` also has those that were sent elsewhere without having failed."""
    arrived: float
    """Monotonic seconds, as the next two."""
    first_token_at: float | None
    ended: float
    started_at: float
    """Unix seconds."""
    status: int
    """0: the client left before there was an answer."""
    code: str
    """The error's, or `client_left`, `replayed`; empty: none."""
    message: str
    count: TokenCount | None
    """None: nothing was used."""
    limits: bytes
    """The rate-limit lines as the client got them."""
    timeout_seconds: float | None
    """How long the client would have waited, as it said."""

    @property
    def org_id(self) -> str:
        return self.principal.org_id

    @property
    def asked_tier(self) -> str | None:
        return None if self.demand is None else self.demand.service_tier

    @property
    def served_tier(self) -> str:
        """Empty: it was not answered."""
        return self.tier if self.status == 200 else ""

    @property
    def completion_tokens(self) -> int:
        return (self.count or NO_TOKENS).completion

    @property
    def seconds(self) -> float:
        return self.ended - self.arrived

    @property
    def ttft_seconds(self) -> float | None:
        return None if self.first_token_at is None else self.first_token_at - self.arrived
