"""How far a partition has been read without a gap: Kafka keeps one offset for each, and records are acknowledged in any order."""

from heapq import heappop, heappush


class PartitionOffsets:
    """One partition, since it was assigned. Offsets that were not handed out count for nothing: compaction leaves such gaps."""

    def __init__(self) -> None:
        self._open: list[int] = []
        """A heap of what is handed out; what is acknowledged stays until it comes to the top."""
        self._handed_out: set[int] = set()
        self._acknowledged: set[int] = set()
        self._behind = 0
        """The offset behind the last one that was handed out."""
        self._committed: int | None = None

    def hand_out(self, offset: int) -> None:
        if offset in self._handed_out:
            return
        self._handed_out.add(offset)
        heappush(self._open, offset)
        self._behind = max(self._behind, offset + 1)
        if self._committed is None:
            self._committed = offset

    def acknowledge(self, offset: int) -> None:
        if offset in self._handed_out:
            self._acknowledged.add(offset)

    def commit_offset(self) -> int | None:
        """The first offset that a new reader would have to see; None when that is what was committed."""
        while self._open and self._open[0] in self._acknowledged:
            offset = heappop(self._open)
            self._acknowledged.discard(offset)
            self._handed_out.discard(offset)
        offset_to_commit = self._open[0] if self._open else self._behind
        return None if self._committed is None or offset_to_commit <= self._committed else offset_to_commit

    def committed(self, offset_to_commit: int) -> None:
        """The broker has it."""
        self._committed = max(offset_to_commit, self._committed or 0)
