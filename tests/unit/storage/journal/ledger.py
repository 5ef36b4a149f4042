"""The ledger's intake in memory, and the records that the journal's tests write."""

from collections.abc import Sequence

from penstock.domain.errors import PortUnavailable
from penstock.domain.usage import Outcome, UsageRecord


class MemoryLedger:
    """Takes a batch once; away when told so."""

    def __init__(self, batches: dict[str, list[UsageRecord]] | None = None) -> None:
        self.batches = dict(batches or {})
        self.away = False
        self.refuses = ""
        """The id of a request that it cannot stand."""

    async def append(self, batch_id: str, records: Sequence[UsageRecord]) -> bool:
        if self.away:
            raise PortUnavailable("away")
        if any(record.request_id == self.refuses for record in records):
            raise ValueError("refused")
        if batch_id in self.batches:
            return False
        self.batches[batch_id] = list(records)
        return True

    @property
    def records(self) -> list[UsageRecord]:
        return [record for records in self.batches.values() for record in records]


def record(request_id: str, completion: int = 0, outcome: Outcome = Outcome.COMPLETED) -> UsageRecord:
    return UsageRecord(
        request_id=request_id,
        org_id="org_a",
        key_id="key_a",
        model="modèle",
        operation="chat",
        service_tier="default",
        service_class="free",
        worker_id="wrk_a",
        outcome=outcome,
        prompt_tokens=10,
        completion_tokens=completion,
        cached_tokens=0,
        reasoning_tokens=0,
        estimated=False,
        cost_micros=0,
        started_at=1.5,
        finished_at=2.5,
        ttft_ms=3.5,
        queue_ms=4.5,
        retries=0,
    )


def same(record: UsageRecord) -> UsageRecord:
    return record
