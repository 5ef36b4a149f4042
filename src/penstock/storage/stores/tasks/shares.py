"""Who gets the tasks of a claim: organisations in turn, and inside one the next by `sort_key`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import merge

GroupKey = tuple[str, str, str]
"""Organisation, queue, ability."""


@dataclass(frozen=True, slots=True)
class ReadyTasks:
    """The ready tasks of one organisation in one queue that need the same ability."""

    org_id: str
    queue: str
    ability: str
    keys: Sequence[tuple[int, int]]
    """Sort key and number of those that may start now, ascending; not more than a claim wants."""

    @property
    def key(self) -> "GroupKey":
        return self.org_id, self.queue, self.ability


class FairShares:
    """Remembers who was served last, so that claims of one task each go round, too. Forgets who has nothing waiting."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._turn = 0

    def shares(self, groups: Sequence[ReadyTasks], allowed: Mapping[tuple[str, str], int], limit: int) -> dict[GroupKey, int]:
        """How many to take of each group; of the groups of one (organisation, queue) together not more than it is allowed."""
        waiting = _in_order(groups)
        self._last = {org_id: self._last.get(org_id, 0) for org_id in waiting}
        left = dict(allowed)
        takes: dict[GroupKey, int] = {}
        # The one that has waited longest for a turn is first; a new one before all others.
        row = sorted(waiting, key=lambda org_id: self._last[org_id])
        while row and limit:
            for org_id in row:
                key = _next(waiting[org_id], left) if limit else None
                if key is not None:
                    takes[key] = takes.get(key, 0) + 1
                    limit -= 1
                    self._turn += 1
                    self._last[org_id] = self._turn
            row = [org_id for org_id in row if waiting[org_id]]
        return takes


def _next(waiting: list[GroupKey], left: dict[tuple[str, str], int]) -> GroupKey | None:
    while waiting:
        key = waiting.pop()
        if left[key[:2]] > 0:
            left[key[:2]] -= 1
            return key
    return None


def _in_order(groups: Sequence[ReadyTasks]) -> dict[str, list[GroupKey]]:
    """The group of each waiting task of an organisation, the next one last."""
    streams: dict[str, list[list[tuple[tuple[int, int], GroupKey]]]] = {}
    for group in groups:
        if group.keys:
            streams.setdefault(group.org_id, []).append([(sort_key, group.key) for sort_key in group.keys])
    return {org_id: [key for _, key in merge(*found)][::-1] for org_id, found in streams.items()}
