"""What an upstream allows a gateway in a minute: requests and tokens, counted here so that it need not refuse any."""

from typing import Final

from penstock.domain.workers import UpstreamAccess

_MINUTE: Final = 60.0


class UpstreamRate:
    """Two leaky buckets of a minute each. Tokens are counted when they are known, so that their bucket may run over."""

    __slots__ = ("_at", "_requests", "_tokens", "requests_per_minute", "tokens_per_minute")

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None, now: float) -> None:
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self._requests = self._tokens = 0.0
        self._at = now

    def sent(self, prompt_tokens: int, now: float) -> float:
        """Count a request; the seconds until the upstream may get another one, 0: now."""
        self._drain(now)
        self._requests += 1.0
        self._tokens += prompt_tokens
        return self._wait()

    def used(self, tokens: int, now: float) -> float:
        """Count tokens beyond those that were counted when the request was sent; negative: there were fewer."""
        self._drain(now)
        self._tokens = max(0.0, self._tokens + tokens)
        return self._wait()

    def _drain(self, now: float) -> None:
        elapsed = now - self._at
        if elapsed <= 0.0:
            return
        self._at = now
        if self.requests_per_minute is not None:
            self._requests = max(0.0, self._requests - elapsed * self.requests_per_minute / _MINUTE)
        if self.tokens_per_minute is not None:
            self._tokens = max(0.0, self._tokens - elapsed * self.tokens_per_minute / _MINUTE)

    def _wait(self) -> float:
        wait = 0.0
        if self.requests_per_minute is not None:
            over = self._requests + 1.0 - self.requests_per_minute
            wait = max(wait, over * _MINUTE / self.requests_per_minute)
        if self.tokens_per_minute is not None:
            over = self._tokens - self.tokens_per_minute
            wait = max(wait, over * _MINUTE / self.tokens_per_minute)
        # A rounding error is no reason to rest.
        return wait if wait > 1e-6 else 0.0


def rate_of(access: UpstreamAccess, before: UpstreamRate | None, now: float) -> UpstreamRate | None:
    """The counter of a record that was edited; None: no limit is known."""
    requests, tokens = access.requests_per_minute, access.tokens_per_minute
    if requests is None and tokens is None:
        return None
    if before is not None and (before.requests_per_minute, before.tokens_per_minute) == (requests, tokens):
        return before
    return UpstreamRate(requests, tokens, now)
