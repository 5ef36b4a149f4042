"""Usage on this machine, before the ledger has it. Plain calls."""

from typing import Protocol

from penstock.domain.usage import UsageRecord


class JournalSlot(Protocol):
    """The journal's note of one stream in flight."""

    def update(self, prompt: int, completion: int, cached: int = 0, reasoning: int = 0, estimated: bool = False) -> None:
        """The tokens so far; called before the bytes that carry them leave."""
        ...

    def clear(self) -> None: ...


class UsageJournal(Protocol):
    """Where usage is noted, on this machine, before the bytes that it describes leave. Never raises, never waits."""

    def begin(self, record: UsageRecord) -> JournalSlot | None: ...
    def finish(self, record: UsageRecord) -> None: ...
