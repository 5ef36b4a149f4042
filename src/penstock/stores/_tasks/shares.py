"""Who gets the tasks of a claim: organisations in turn, and inside one whatever is next by `sort_key`."""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import merge


@dataclass(frozen=True, slots=True)
class Lane:
    """The ready tasks of one organisation in one queue."""

    org_id: str
    queue: str
    keys: Sequence[int]
    """The sort keys of those that may start now, ascending; not more than a claim wants."""


class Turns:
    """Remembers who was served last, so that claims of one task each go round, too. Forgets who has nothing waiting."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._turn = 0

    def shares(self, lanes: Sequence[Lane], limit: int) -> dict[tuple[str, str], int]:
        """How many to take of each (organisation, queue)."""
        waiting = _in_order(lanes)
        self._last = {org_id: self._last.get(org_id, 0) for org_id in waiting}
        takes: dict[tuple[str, str], int] = {}
        # Whoever has waited longest for a turn is first; a newcomer before all others.
        row = sorted(waiting, key=lambda org_id: self._last[org_id])
        while row and limit:
            for org_id in row[:limit]:
                queue = waiting[org_id].pop()
                takes[org_id, queue] = takes.get((org_id, queue), 0) + 1
                self._turn += 1
                self._last[org_id] = self._turn
                limit -= 1
            row = [org_id for org_id in row if waiting[org_id]]
        return takes


def _in_order(lanes: Sequence[Lane]) -> dict[str, list[str]]:
    """The queue of each waiting task of an organisation, the next one last."""
    streams: dict[str, list[list[tuple[int, str]]]] = {}
    for lane in lanes:
        if lane.keys:
            streams.setdefault(lane.org_id, []).append([(key, lane.queue) for key in lane.keys])
    return {org_id: [queue for _, queue in merge(*found)][::-1] for org_id, found in streams.items()}
