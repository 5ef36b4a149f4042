"""The thread that owns the model: reads prompts in pieces, advances all answers together, token by token.

Between two steps sequences join and leave, so that none waits for the end of another's answer. A long prompt is read in pieces, with a
step of the others after each. When the cache is full the youngest sequence gives its place back and is read again later: its answer
goes on where it was.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
import torch

from penstock.compute.engines._transformers.rows import Rows, TogetherRows
from penstock.compute.engines._transformers.sequences import Inbox, Voice
from penstock.domain.errors import Internal, Overloaded, PenstockError
from penstock.domain.ports.engine import Event

PIECE_TOKENS = 512
"""Of a prompt that is read before the others advance again."""
SPARE_TOKENS = 32
"""Room that a sequence must find beyond its prompt before it joins."""
Result = TypeVar("Result")
_log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Reading:
    """A prompt that is read once for all the choices that continue it."""

    ids: list[int]
    voices: list[Voice]
    cache: Any = None
    read: int = 0
    logits: Any = None


class GenerationBatch:
    """Everything but `submit`, `cancel`, `call`, `load` and `close` happens in its own thread."""

    def __init__(self, rows: Rows, most_rows: int, most_tokens: int) -> None:
        """`most_tokens`: room of the cache, as rows times the longest of them."""
        self._rows = rows
        self._most_rows = most_rows
        self._most_tokens = most_tokens
        self._voices: list[Voice] = []
        self._waiting: deque[_Reading] = deque()
        self._arrived: deque[_Reading | Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._outgoing: dict[Inbox, list[Event]] = {}
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Returns when the thread has ended, which is after the step that it is at."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._give_up(Overloaded("This worker is stopping.", retry_after_seconds=1.0))

    def submit(self, prompt: list[int], voices: list[Voice]) -> None:
        self._arrive(_Reading(prompt, voices))

    def cancel(self, voices: list[Voice]) -> None:
        """They are left out from the next step on."""
        for voice in voices:
            voice.cancelled = True
        with self._wake:
            self._wake.notify()

    def call(self, work: Callable[[], Result]) -> Future[Result]:
        """Run something with the model, between two steps."""
        future: Future[Result] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except Exception as error:  # the caller gets it
                    future.set_exception(error)

        self._arrive(run)
        return future

    @property
    def is_together(self) -> bool:
        """All rows advance in one pass of the model."""
        return isinstance(self._rows, TogetherRows)

    @property
    def running(self) -> int:
        return sum(not voice.cancelled for voice in tuple(self._voices))

    @property
    def waiting(self) -> int:
        return sum(len(reading.voices) for reading in (*self._waiting, *(one for one in tuple(self._arrived) if isinstance(one, _Reading))))

    @property
    def usage(self) -> float:
        """The used share of the cache's room."""
        lengths = tuple(self._rows.lengths)
        return min(1.0, len(lengths) * max(lengths, default=0) / self._most_tokens)

    def _arrive(self, one: "_Reading | Callable[[], None]") -> None:
        with self._wake:
            self._arrived.append(one)
            self._wake.notify()

    # --- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with torch.inference_mode():
            while self._next():
                try:
                    self._drop_cancelled()
                    self._read()
                    self._advance()
                except Exception as error:  # a bug or a full device: no request waits for ever, and the next one may fit
                    self._fail(error)
                self._tell()

    def _next(self) -> bool:
        """Take what arrived; waits when there is nothing to do. False: closed."""
        with self._wake:
            while not (self._closed or self._arrived or self._waiting or self._voices):
                self._wake.wait()
            arrived = list(self._arrived)
            self._arrived.clear()
        for one in arrived:
            if isinstance(one, _Reading):
                self._waiting.append(one)
            else:
                one()
        return not self._closed

    def _drop_cancelled(self) -> None:
        for row in reversed(range(len(self._voices))):
            if self._voices[row].cancelled:
                self._leave(row)
        for reading in tuple(self._waiting):
            reading.voices = [voice for voice in reading.voices if not voice.cancelled]
            if not reading.voices:
                self._waiting.remove(reading)

    def _read(self) -> None:
        """A piece of the first prompt in line; its choices join when it is whole and there is room."""
        if not self._waiting or not self._has_room(len(self._waiting[0].ids)):
            return
        reading = self._waiting[0]
        if reading.logits is None:
            piece = reading.ids[reading.read : reading.read + PIECE_TOKENS]
            logits, reading.cache = self._rows.prefill(piece, reading.cache)
            reading.read += len(piece)
            if reading.read < len(reading.ids):
                return
            reading.logits = logits
        while reading.voices and self._has_room(len(reading.ids)):
            voice = reading.voices.pop(0)
            self._take(voice, None, reading.logits)
            if not voice.done:
                self._join(voice, reading)
        if not reading.voices:
            self._waiting.popleft()

    def _join(self, voice: Voice, reading: _Reading) -> None:
        try:
            self._rows.join(reading.cache, len(reading.ids), last=not reading.voices)
        except Exception:
            reading.voices.insert(0, voice)  # among those who are told that it failed
            raise
        self._voices.append(voice)

    def _has_room(self, length: int) -> bool:
        rows = len(self._voices)
        longest = max((length + SPARE_TOKENS, *self._rows.lengths))
        return not rows or (rows < self._most_rows and (rows + 1) * longest <= self._most_tokens)

    def _advance(self) -> None:
        self._make_room()
        if not self._voices:
            return
        logits = self._rows.step([voice.made[-1] for voice in self._voices])
        likeliest = logits.argmax(-1).tolist() if any(voice.sampler.plain for voice in self._voices) else []
        for row in reversed(range(len(self._voices))):
            voice = self._voices[row]
            self._take(voice, likeliest[row] if voice.sampler.plain else None, logits[row])
            if voice.done:
                self._leave(row)

    def _make_room(self) -> None:
        while len(self._voices) > 1 and len(self._voices) * (max(self._rows.lengths) + 1) > self._most_tokens:
            voice = self._voices[-1]
            self._leave(len(self._voices) - 1)
            self._waiting.appendleft(_Reading(voice.ids, [voice]))
            _log.info("sequence_preempted", tokens=len(voice.ids))

    def _leave(self, row: int) -> None:
        self._rows.leave(row)
        self._voices[row] = self._voices[-1]
        self._voices.pop()

    def _take(self, voice: Voice, token: int | None, logits: Any) -> None:
        """Choose a token unless it is given, and tell what it shows. What goes wrong here is this voice's matter alone."""
        try:
            if token is None:
                token = voice.sampler.pick(voice.ids, voice.made, logits)
            self._outgoing.setdefault(voice.inbox, []).extend(voice.take(token, logits))
        except Exception as error:  # a parameter that its processor did not accept
            _log.error("sequence_failed", exc_info=error)
            voice.done = True
            voice.inbox.fail(Internal("The engine failed."))

    def _tell(self) -> None:
        """One wake-up of the event loop for each request that has news."""
        outgoing, self._outgoing = self._outgoing, {}
        for inbox, events in outgoing.items():
            inbox.post(events)

    def _fail(self, error: Exception) -> None:
        full = isinstance(error, torch.OutOfMemoryError)
        _log.error("model_failed", exc_info=error)
        answer: PenstockError = (
            Overloaded("The engine is out of memory.", retry_after_seconds=1.0) if full else Internal("The engine failed.")
        )
        self._give_up(answer)
        if full:
            torch.cuda.empty_cache()

    def _give_up(self, error: Exception) -> None:
        for voice in (*self._voices, *(voice for reading in self._waiting for voice in reading.voices)):
            voice.inbox.fail(error)
        for row in reversed(range(len(self._voices))):
            self._leave(row)
        self._waiting.clear()
