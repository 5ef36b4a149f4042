"""Who gets the tasks of a claim: organisations in turn, and inside one whatever is next by `sort_key`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import merge

Place = tuple[str, str, str]
"""Organisation, queue, ability."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The ready tasks of one organisation in one queue that need the same ability."""

    org_id: str
    queue: str
    ability: str
    keys: Sequence[tuple[int, int]]
    """Sort key and number of those that may start now, ascending; not more than a claim wants."""

    @property
    def place(self) -> "Place":
        return self.org_id, self.queue, self.ability


class Turns:
    """Remembers who was served last, so that claims of one task each go round, too. Forgets who has nothing waiting."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._turn = 0

    def shares(self, lanes: Sequence[Lane], allowed: Mapping[tuple[str, str], int], limit: int) -> dict[Place, int]:
        """How many to take of each lane; of the lanes of one (organisation, queue) together not more than it is allowed."""
        waiting = _in_order(lanes)
        self._last = {org_id: self._last.get(org_id, 0) for org_id in waiting}
        left = dict(allowed)
        takes: dict[Place, int] = {}
        # Whoever has waited longest for a turn is first; a newcomer before all others.
        row = sorted(waiting, key=lambda org_id: self._last[org_id])
        while row and limit:
            for org_id in row:
                place = _next(waiting[org_id], left) if limit else None
                if place is not None:
                    takes[place] = takes.get(place, 0) + 1
                    limit -= 1
                    self._turn += 1
                    self._last[org_id] = self._turn
            row = [org_id for org_id in row if waiting[org_id]]
        return takes


def _next(waiting: list[Place], left: dict[tuple[str, str], int]) -> Place | None:
    while waiting:
        place = waiting.pop()
        if left[place[:2]] > 0:
            left[place[:2]] -= 1
            return place
    return None


def _in_order(lanes: Sequence[Lane]) -> dict[str, list[Place]]:
    """The lane of each waiting task of an organisation, the next one last."""
    streams: dict[str, list[list[tuple[tuple[int, int], Place]]]] = {}
    for lane in lanes:
        if lane.keys:
            streams.setdefault(lane.org_id, []).append([(key, lane.place) for key in lane.keys])
    return {org_id: [place for _, place in merge(*found)][::-1] for org_id, found in streams.items()}
