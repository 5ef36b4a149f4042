"""A ledger that can lose its answer, and a journal that writes to it."""

from collections.abc import Sequence
from pathlib import Path

from penstock.domain.errors import PortUnavailable
from penstock.domain.usage import Outcome, UsageRecord
from penstock.storage.journal.journal import Journal
from penstock.storage.journal.slots import Slot
from tests.unit.storage.journal.ledger import MemoryLedger, record, same

SEGMENT_BYTES = 4096


class ForgetfulLedger(MemoryLedger):
    """Can die after it has taken a batch and before it has said so."""

    answer_lost = False

    async def append(self, batch_id: str, records: Sequence[UsageRecord]) -> bool:
        new = await super().append(batch_id, records)
        if self.answer_lost:
            raise PortUnavailable("the connection broke after the commit")
        return new

    def counted(self) -> dict[str, tuple[str, int]]:
        """Outcome and tokens by request; fails when one came twice."""
        found = {record.request_id: (record.outcome.value, record.completion_tokens) for record in self.records}
        assert len(found) == len(self.records), "a request was counted twice"
        return found


def opened(directory: Path, ledger: ForgetfulLedger, slots: int = 4) -> Journal:
    journal = Journal(directory, ledger, slots, 0.01, SEGMENT_BYTES)
    journal.open(same)
    return journal


def begun(journal: Journal, request_id: str) -> Slot:
    slot = journal.begin(record(request_id, 1, Outcome.RECOVERED))
    assert slot is not None
    return slot
