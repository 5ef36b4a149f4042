"""The usage ledger. Asynchronous; may raise PortUnavailable."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.domain.usage import UsageRecord, UsageRow


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which ledger records to sum, and by what. Times are Unix seconds, `since` included, `until` excluded."""

    org_id: str | None = None
    key_id: str | None = None
    model: str | None = None
    since: float | None = None
    until: float | None = None
    group_by: tuple[str, ...] = ("model",)
    """Of: org, key, model, tier, class, day, currency. Sums are by currency in any case."""
    limit: int = 1000
    tier: str | None = None
    service_class: str | None = None
    outcome: str | None = None
    """Of single records only, as what follows."""
    slower_than_seconds: float | None = None
    client_request_id: str | None = None


class UsageIntake(Protocol):
    """Where the journal sends its batches."""

    async def append(self, batch_id: str, records: Sequence[UsageRecord]) -> bool:
        """Write all in one transaction; False, and nothing is written, when a batch of that id is there already.

        This is what counts a request once: a caller that cannot know whether a batch arrived gives it again, unchanged, under its id.
        Ids are remembered for a week.
        """
        ...


class UsageLedger(UsageIntake, Protocol):
    """Every request that was served, and the sums of them."""

    async def report(self, query: UsageQuery) -> list[UsageRow]:
        """The sums by group, largest cost first, then most requests."""
        ...

    async def records(self, query: UsageQuery, after: str | None = None) -> list[UsageRecord]:
        """Single records, newest first, `query.limit` at most; `after` is the request id where the last page ended."""
        ...

    async def record(self, request_id: str) -> UsageRecord | None: ...
