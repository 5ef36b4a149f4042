"""One choice on its way through the model, and the line in which its events reach the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.compute.engines._transformers.sampling import Sampler, logprobs
from penstock.compute.engines._transformers.speech import Speech
from penstock.domain.ports.engine import Event, FinishReason, TokenLogprob


class Inbox:
    """Events of one request, from the model's thread to the coroutine that writes them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: list[Event] = []
        self._error: Exception | None = None
        self._news = asyncio.Event()

    def post(self, events: Sequence[Event]) -> None:
        """From any thread."""
        self._soon(self._put, events)

    def fail(self, error: Exception) -> None:
        """From any thread: the reader gets this instead of events."""
        self._soon(self._fail, error)

    async def take(self) -> list[Event]:
        """What came since the last call; waits for something."""
        await self._news.wait()
        self._news.clear()
        if self._error is not None:
            raise self._error
        events, self._events = self._events, []
        return events

    def _soon(self, what: Callable[[Any], None], given: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what, given)

    def _put(self, events: Sequence[Event]) -> None:
        self._events.extend(events)
        self._news.set()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._news.set()


@dataclass(slots=True, eq=False)
class GeneratedSequence:
    """A choice. The model's thread alone changes it, but for `cancelled`."""

    prompt: list[int]
    limit: int
    """Tokens that it may make."""
    ends: frozenset[int]
    sampler: Sampler
    speech: Speech
    inbox: Inbox
    text_of: Callable[[int], str]
    top_logprobs: int | None = None
    made: list[int] = field(default_factory=list)
    cancelled: bool = False
    done: bool = False

    @property
    def ids(self) -> list[int]:
        return [*self.prompt, *self.made]

    def take(self, token: int, logits: Any) -> list[Event]:
        """One token more, which the sampler chose from these logits [V]; sets `done` at the end."""
        if token in self.ends:
            return self._end("stop")
        self.made.append(token)
        top = self.top_logprobs
        events = self.speech.token(token, None if top is None else lambda text: self._logprob(text, token, logits, top))
        if self.speech.stopped:
            return [*events, *self._end("stop")]
        return [*events, *self._end("length")] if len(self.made) >= self.limit else events

    def _end(self, reason: FinishReason) -> list[Event]:
        self.done = True
        return self.speech.end(reason)

    def _logprob(self, text: str, token: int, logits: Any, top: int) -> TokenLogprob:
        chosen, likeliest = logprobs(logits, token, top)
        return TokenLogprob(text, chosen, tuple((text if other == token else self.text_of(other), value) for other, value in likeliest))
