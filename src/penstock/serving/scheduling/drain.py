"""How fast a queue moves, and how fast it is joined."""

from collections import deque

_REMEMBERED_SECONDS = 60.0
_SHORTEST_SECONDS = 0.5
"""A few that came at the same moment do not give a pace."""


class Drain:
    """Tokens a second that were let go in the last seconds."""

    def __init__(self, window_seconds: float, least: int = 2) -> None:
        """`least`: requests from which on the pace is believed."""
        self._window = window_seconds
        self._least = least
        self._gone: deque[tuple[float, int]] = deque()
        self._tokens = 0
        self._before: tuple[float, float] | None = None
        """Seconds for a token when the queue was last long enough to tell, and when that was."""

    def note(self, tokens: int, now: float) -> None:
        gone = self._gone
        gone.append((now, tokens))
        self._tokens += tokens
        if gone[0][0] < now - self._window or len(gone) > 256:
            self._trim(now)

    def seconds_for(self, tokens: float, now: float) -> float:
        """0 when the pace is not known, so that no one is refused on a guess. At first that of the last rush counts, for a minute."""
        self._trim(now)
        if len(self._gone) >= self._least:
            return tokens * self._seconds_a_token(now)
        if self._before is None or now - self._before[1] > _REMEMBERED_SECONDS:
            return 0.0
        return tokens * self._before[0]

    def clear(self) -> None:
        """No request waits any more."""
        if len(self._gone) >= self._least:
            last = self._gone[-1][0]
            self._before = self._seconds_a_token(last), last
        self._gone.clear()
        self._tokens = 0

    def _seconds_a_token(self, now: float) -> float:
        return max(now - self._gone[0][0], 1e-3) / self._tokens

    def _trim(self, now: float) -> None:
        while self._gone and (self._gone[0][0] < now - self._window or len(self._gone) > 256):
            self._tokens -= self._gone.popleft()[1]


class Inflow:
    """Tokens a second that have come into the queue of late."""

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._came: deque[tuple[float, int]] = deque()
        self._tokens = 0
        self._since = 0.0
        """When the first came of those that have not stopped coming since."""

    def note(self, tokens: int, now: float) -> None:
        self._trim(now)
        if not self._came:
            self._since = now
        self._came.append((now, tokens))
        self._tokens += tokens

    def rate(self, now: float) -> float:
        self._trim(now)
        if not self._came:
            return 0.0
        return self._tokens / min(max(now - self._since, _SHORTEST_SECONDS), self._window)

    def _trim(self, now: float) -> None:
        while self._came and self._came[0][0] < now - self._window:
            self._tokens -= self._came.popleft()[1]
