"""Items in the order of their keys. Taking one out of the middle costs nothing at once: its place is forgotten later."""

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

Item = TypeVar("Item")
Key = tuple[float, float]
_SLACK = 16


class Heap(Generic[Item]):
    """Each item is in it once; with equal keys, who was put in first comes first."""

    __slots__ = ("_current", "_places", "_puts")

    def __init__(self) -> None:
        self._places: list[tuple[Key, int, Item]] = []
        self._current: dict[Item, int] = {}
        """The one place of each item that counts."""
        self._puts = 0

    def __len__(self) -> int:
        return len(self._current)

    def put(self, item: Item, key: Key) -> None:
        """Put it in, or move it to a new key."""
        self._puts = puts = self._puts + 1
        places, current = self._places, self._current
        current[item] = puts
        heappush(places, (key, puts, item))
        if len(places) > 2 * len(current) + _SLACK:
            self._tidy()

    def discard(self, item: Item) -> bool:
        """Whether it is empty now."""
        current = self._current
        if current.pop(item, None) is None:
            return not current
        if not current:
            self._places.clear()
            return True
        if len(self._places) > 2 * len(current) + _SLACK:
            self._tidy()
        return False

    def first(self) -> Item | None:
        places, current = self._places, self._current
        while places:
            place = places[0]
            item = place[2]
            if current.get(item) == place[1]:
                return item
            heappop(places)
        return None

    def _tidy(self) -> None:
        # When most places are void: what has left must not be kept alive, and each removal pays for a constant part of this.
        self._places = [place for place in self._places if self._current.get(place[2]) == place[1]]
        heapify(self._places)
