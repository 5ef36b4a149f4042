"""One GPU with a continuously batched model, as a pure model of time.

A step of the engine lasts

    prefill tokens that join in it / prefill rate  +  a + b x batch        (seconds)

and gives every sequence of the batch one token. Sequences join and leave between steps, first come first served. Memory is
reserved for a whole sequence when it joins, so nothing is ever pushed out again; what does not fit waits, and so does what
came after it.
"""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Speed:
    """What one GPU does with one model. The defaults are a small model on one current accelerator."""

    prefill_tokens_per_second: float = 20_000.0
    step_seconds: float = 0.008
    """a: a decode step with an empty batch."""
    step_seconds_per_sequence: float = 0.0001
    """b: what each sequence of the batch adds."""
    kv_tokens: int = 262_144
    """Tokens that the key-value cache holds."""
    max_batch: int = 64

    def times(self, factor: float) -> "Speed":
        """The same GPU, `factor` times as fast (inf: every step is instant)."""
        return Speed(
            self.prefill_tokens_per_second * factor,
            self.step_seconds / factor,
            self.step_seconds_per_sequence / factor,
            self.kv_tokens,
            self.max_batch,
        )


@dataclass(slots=True)
class _Sequence:
    prompt: int
    output: int
    made: int = 0

    @property
    def reserved(self) -> int:
        return self.prompt + self.output


class Replica(Generic[Key]):
    """Ask `next_event()` when something happens next and `advance(now)` what has happened until now."""

    def __init__(self, speed: Speed) -> None:
        self.speed = speed
        self._batch: dict[Key, _Sequence] = {}
        self._waiting: dict[Key, _Sequence] = {}
        self._queue: deque[Key] = deque()
        self._reserved = 0
        self._step_ends: float | None = None

    def submit(self, key: Key, prompt_tokens: int, output_tokens: int, now: float) -> None:
        """Queue a sequence that will make `output_tokens` (0: it only reads, as an embedding does).

        Raises ValueError when the cache could never hold it: the caller must refuse it, for it would wait for ever.
        """
        if prompt_tokens + output_tokens > self.speed.kv_tokens:
            raise ValueError(f"{prompt_tokens} + {output_tokens} tokens never fit into a cache of {self.speed.kv_tokens}")
        if key in self._batch or key in self._waiting:
            raise ValueError(f"sequence {key!r} is here already")
        self._waiting[key] = _Sequence(prompt_tokens, output_tokens)
        self._queue.append(key)
        if self._step_ends is None:
            self._begin_step(now)

    def cancel(self, key: Key) -> None:
        """Forget a sequence, whether it waits or runs; its memory is free from the next step on. Unknown keys are ignored."""
        if self._waiting.pop(key, None) is None and (gone := self._batch.pop(key, None)) is not None:
            self._reserved -= gone.reserved

    def next_event(self) -> float | None:
        """When the running step ends; None while idle."""
        return self._step_ends

    def advance(self, now: float) -> dict[Key, int]:
        """Run every step that ends by `now`: new tokens of each sequence. One that only reads is there once, with 0."""
        made: dict[Key, int] = {}
        while self._step_ends is not None and self._step_ends <= now:
            self._finish_step(made)
            self._begin_step(self._step_ends)
        return made

    @property
    def running(self) -> int:
        return len(self._batch)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def kv_usage(self) -> float:
        """The share of the cache that holds tokens now, 0 to 1."""
        held = sum(one.prompt + one.made for one in self._batch.values())
        return held / self.speed.kv_tokens

    def _begin_step(self, now: float) -> None:
        prefill = self._join()
        if not self._batch:
            self._step_ends = None
            return
        speed = self.speed
        decode = speed.step_seconds + speed.step_seconds_per_sequence * len(self._batch)
        self._step_ends = now + prefill / speed.prefill_tokens_per_second + decode

    def _join(self) -> int:
        """Let in what fits, in order. Returns the prompt tokens that the coming step must read."""
        prefill = 0
        while self._queue and len(self._batch) < self.speed.max_batch:
            key = self._queue[0]
            one = self._waiting.get(key)
            if one is not None:
                if self._reserved + one.reserved > self.speed.kv_tokens:
                    break
                del self._waiting[key]
                self._batch[key] = one
                self._reserved += one.reserved
                prefill += one.prompt
            self._queue.popleft()
        return prefill

    def _finish_step(self, made: dict[Key, int]) -> None:
        done = []
        for key, one in self._batch.items():
            token = 1 if one.output else 0
            one.made += token
            made[key] = made.get(key, 0) + token
            if one.made >= one.output:
                done.append(key)
        for key in done:
            self._reserved -= self._batch.pop(key).reserved
