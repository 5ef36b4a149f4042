"""How fast a line moves."""

from collections import deque


class Drain:
    """Tokens a second that were let go in the last seconds."""

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
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
        if len(self._gone) < 2:
            return 0.0
        return tokens * max(now - self._gone[0][0], 1e-3) / self._tokens

    def _trim(self, now: float) -> None:
        while self._gone and (self._gone[0][0] < now - self._window or len(self._gone) > 256):
            self._tokens -= self._gone.popleft()[1]
