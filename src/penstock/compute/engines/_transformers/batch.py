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
from penstock.compute.engines._transformers.sequences import GeneratedSequence, Inbox
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
    sequences: list[GeneratedSequence]
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
        self._sequences: list[GeneratedSequence] = []
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

    def submit(self, prompt: list[int], sequences: list[GeneratedSequence]) -> None:
        self._arrive(_Reading(prompt, sequences))

    def cancel(self, sequences: list[GeneratedSequence]) -> None:
        """They are left out from the next step on."""
        for sequence in sequences:
            sequence.cancelled = True
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
        return sum(not sequence.cancelled for sequence in tuple(self._sequences))

    @property
    def waiting(self) -> int:
        return sum(
            len(reading.sequences) for reading in (*self._waiting, *(one for one in tuple(self._arrived) if isinstance(one, _Reading)))
        )

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
            while not (self._closed or self._arrived or self._waiting or self._sequences):
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
        for row in reversed(range(len(self._sequences))):
            if self._sequences[row].cancelled:
                self._leave(row)
        for reading in tuple(self._waiting):
            reading.sequences = [sequence for sequence in reading.sequences if not sequence.cancelled]
            if not reading.sequences:
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
        while reading.sequences and self._has_room(len(reading.ids)):
            sequence = reading.sequences.pop(0)
            self._take(sequence, None, reading.logits)
            if not sequence.done:
                self._join(sequence, reading)
        if not reading.sequences:
            self._waiting.popleft()

    def _join(self, sequence: GeneratedSequence, reading: _Reading) -> None:
        try:
            self._rows.join(reading.cache, len(reading.ids), last=not reading.sequences)
        except Exception:
            reading.sequences.insert(0, sequence)  # among those who are told that it failed
            raise
        self._sequences.append(sequence)

    def _has_room(self, length: int) -> bool:
        rows = len(self._sequences)
        longest = max((length + SPARE_TOKENS, *self._rows.lengths))
        return not rows or (rows < self._most_rows and (rows + 1) * longest <= self._most_tokens)

    def _advance(self) -> None:
        self._make_room()
        if not self._sequences:
            return
        logits = self._rows.step([sequence.made[-1] for sequence in self._sequences])
        likeliest = logits.argmax(-1).tolist() if any(sequence.sampler.plain for sequence in self._sequences) else []
        for row in reversed(range(len(self._sequences))):
            sequence = self._sequences[row]
            self._take(sequence, likeliest[row] if sequence.sampler.plain else None, logits[row])
            if sequence.done:
                self._leave(row)

    def _make_room(self) -> None:
        while len(self._sequences) > 1 and len(self._sequences) * (max(self._rows.lengths) + 1) > self._most_tokens:
            sequence = self._sequences[-1]
            self._leave(len(self._sequences) - 1)
            self._waiting.appendleft(_Reading(sequence.ids, [sequence]))
            _log.info("sequence_preempted", tokens=len(sequence.ids))

    def _leave(self, row: int) -> None:
        self._rows.leave(row)
        self._sequences[row] = self._sequences[-1]
        self._sequences.pop()

    def _take(self, sequence: GeneratedSequence, token: int | None, logits: Any) -> None:
        """Choose a token unless it is given, and tell what it shows. What goes wrong here is this sequence's matter alone."""
        try:
            if token is None:
                token = sequence.sampler.pick(sequence.ids, sequence.made, logits)
            self._outgoing.setdefault(sequence.inbox, []).extend(sequence.take(token, logits))
        except Exception as error:  # a parameter that its processor did not accept
            _log.error("sequence_failed", exc_info=error)
            sequence.done = True
            sequence.inbox.fail(Internal("The engine failed."))

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
        for sequence in (*self._sequences, *(sequence for reading in self._waiting for sequence in reading.sequences)):
            sequence.inbox.fail(error)
        for row in reversed(range(len(self._sequences))):
            self._leave(row)
        self._waiting.clear()
