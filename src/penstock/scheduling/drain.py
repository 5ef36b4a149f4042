"""How fast a line moves."""

from collections import deque

_REMEMBERED_SECONDS = 60.0


class Drain:
    """Tokens a second that were let go in the last seconds."""

    def __init__(self, window_seconds: float, least: int = 2) -> None:
        """`least`: requests from which on the pace is believed."""
        self._window = window_seconds
        self._least = least
        self._gone: deque[tuple[float, int]] = deque()
        self._tokens = 0
        self._before: tuple[float, float] | None = None
        """Seconds for a token when the line was last long enough to tell, and when that was."""

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
        """Nobody waits any more."""
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
