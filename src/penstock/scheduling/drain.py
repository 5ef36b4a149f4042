"""How fast a line moves."""

from collections import deque


class Drain:
    """Tokens a second that were let go in the last seconds."""

    def __init__(self, window_seconds: float, least: int = 2) -> None:
        """`least`: requests from which on the pace is believed."""
        self._window = window_seconds
        self._least = least
        self._gone: deque[tuple[float, int]] = deque()
        self._tokens = 0

    def note(self, tokens: int, now: float) -> None:
        gone = self._gone
        gone.append((now, tokens))
        self._tokens += tokens
        if gone[0][0] < now - self._window or len(gone) > 256:
            self._trim(now)

    def seconds_for(self, tokens: float, now: float) -> float:
        """0 when the pace is not known, so that no one is refused on a guess."""
        self._trim(now)
        if len(self._gone) < self._least:
            return 0.0
        return tokens * max(now - self._gone[0][0], 1e-3) / self._tokens

    def clear(self) -> None:
        self._gone.clear()
        self._tokens = 0

    def _trim(self, now: float) -> None:
        while self._gone and (self._gone[0][0] < now - self._window or len(self._gone) > 256):
            self._tokens -= self._gone.popleft()[1]
