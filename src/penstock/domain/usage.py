"""What a request used and cost: one record a request, written once."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """How a metered request ended."""

    COMPLETED = "completed"
    CLIENT_LEFT = "client_left"
    FAILED = "failed"
    """The worker failed after it had begun to answer."""
    RECOVERED = "recovered"
    """The gateway died in mid-stream; the numbers were read back from the journal."""


class UsageRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row of the ledger; made for every request, hence a struct and not a dataclass.

    Times are Unix seconds, durations milliseconds, cost micro-units of the price's currency.
    """

    request_id: str
    org_id: str
    key_id: str
    model: str
    operation: str
    service_tier: str
    """The tier served, which is the one billed."""
    service_class: str
    worker_id: str
    outcome: Outcome
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    estimated: bool
    cost_micros: int
    started_at: float
    finished_at: float
    ttft_ms: float
    """Time to the first token; 0 when none came."""
    queue_ms: float
    retries: int
    """Attempts on other workers before the one that answered."""
    status: int = 200
    client_request_id: str = ""
    """The `x-request-id` that the client sent, when it sent a valid one."""
    disputed: bool = False
    """The engine reported tokens that cannot be; what is counted and billed is our estimate."""
    reported_prompt_tokens: int = 0
    """Of a disputed record: what the engine reported."""
    reported_completion_tokens: int = 0
    currency: str = ""
    """Of the cost; empty: it was not recorded, in records of earlier versions."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One line of a usage report: the sums of the records in a group. A field outside the grouping is empty."""

    org_id: str
    key_id: str
    model: str
    service_tier: str
    service_class: str
    day: str
    """`YYYY-MM-DD` in UTC."""
    currency: str
    """Of the cost. Costs of two currencies are never added."""
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    estimated_requests: int
    cost_micros: int
