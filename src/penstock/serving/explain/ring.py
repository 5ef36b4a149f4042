"""The latest outcomes of requests, kept in memory for those who ask why a request went where it went."""

from collections import deque

from penstock.domain.outcome import RequestOutcome

BYTES_PER_DECISION = 4096
"""More than any one takes, with its eight candidates (a test measures it); so the ring's length bounds its memory."""


class DecisionRing:
    """A ring buffer: as many of the latest outcomes as fit into so many bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._entries: deque[RequestOutcome] = deque(maxlen=max(1, most_bytes // BYTES_PER_DECISION))
        self.note = self._entries.append
        self._read_until: RequestOutcome | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, request_id: str) -> RequestOutcome | None:
        return next((entry for entry in reversed(self._entries) if entry.request_id == request_id), None)

    def latest(self, org_id: str | None, count: int) -> list[RequestOutcome]:
        """Newest first; None: of every organisation."""
        found: list[RequestOutcome] = []
        for entry in reversed(self._entries):
            if len(found) == count:
                break
            if org_id is None or entry.org_id == org_id:
                found.append(entry)
        return found

    def news(self) -> list[RequestOutcome]:
        """What came since this was last asked, oldest first; what has fallen out of the ring in between is left out."""
        fresh: list[RequestOutcome] = []
        for entry in reversed(self._entries):
            if entry is self._read_until:
                break
            fresh.append(entry)
        if fresh:
            self._read_until = fresh[0]
        return fresh[::-1]
