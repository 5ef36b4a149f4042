"""One GPU with a continuously batched model, as a pure model of time.

A step of the engine lasts

    prefill tokens that join in it / prefill rate  +  a + b x batch        (seconds)

and gives every sequence of the batch one token. Sequences join and leave between steps, first come first served. Memory is
reserved for a whole sequence when it joins, so nothing is ever pushed out again; what does not fit waits, and so does what
came after it.

Steps in which no sequence joins or leaves are alike, so they are computed and not walked through: what an answer costs here does
not depend on its length.
"""

import heapq
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
    unread: int
    """Of the prompt, what the cache of prefixes does not have."""
    joined: int = 0
    """Steps that were over when it joined."""
    reported: int = 0
    """Of its tokens, those that `advance` has reported."""

    @property
    def reserved(self) -> int:
        return self.prompt + self.output


class SimulatedReplica(Generic[Key]):
    """Ask `next_event()` when something happens next and `advance(now)` what has happened until now."""

    def __init__(self, speed: Speed) -> None:
        self.speed = speed
        self._batch: dict[Key, _Sequence] = {}
        self._waiting: dict[Key, _Sequence] = {}
        self._queue: deque[Key] = deque()
        self._ends: list[tuple[int, int, Key, _Sequence]] = []
        """The step after which each of the batch has all its tokens, as a heap; those that were cancelled may still be in it."""
        self._joined = 0
        """Sequences so far."""
        self._reserved = 0
        self._steps = 0
        """That are over."""
        self._step_ends: float | None = None
        self._decode_seconds = 0.0
        """How long the running step takes, without what it reads."""
        self._fresh: list[tuple[Key, _Sequence]] = []
        """Those that joined in the running step: its end is their first token."""
        self._changed = False
        """A sequence came or left since the step began: the next step may be another."""

    def submit(self, key: Key, prompt_tokens: int, output_tokens: int, now: float, cached_tokens: int = 0) -> None:
        """Queue a sequence that will make `output_tokens` (0: it only reads, as an embedding does).

        `cached_tokens` of the prompt need not be read again. Raises ValueError when the memory could never hold the sequence: the
        caller must refuse it, for it would wait for ever.
        """
        if prompt_tokens + output_tokens > self.speed.kv_tokens:
            raise ValueError(f"{prompt_tokens} + {output_tokens} tokens never fit into a cache of {self.speed.kv_tokens}")
        if key in self._batch or key in self._waiting:
            raise ValueError(f"sequence {key!r} is here already")
        self._waiting[key] = _Sequence(prompt_tokens, output_tokens, max(0, prompt_tokens - cached_tokens))
        self._queue.append(key)
        self._changed = True
        if self._step_ends is None:
            self._begin_step(now)

    def cancel(self, key: Key) -> None:
        """Forget a sequence, whether it waits or runs; its memory is free from the next step on. Unknown keys are ignored."""
        if self._waiting.pop(key, None) is None and (gone := self._batch.pop(key, None)) is not None:
            self._reserved -= gone.reserved
            self._changed = True

    def next_event(self) -> float | None:
        """When the running step ends; None while idle."""
        return self._step_ends

    def next_change(self) -> float | None:
        """When a sequence next gets a first token or the last one; None while idle.

        It may be too early, when a sequence has just come or left: then nothing has happened yet, and asking again tells more.
        """
        if self._step_ends is None or self._fresh or self._changed:
            return self._step_ends
        return self._step_ends + (self._ends[0][0] - self._steps - 1) * self._decode_seconds

    def become(self, speed: Speed) -> None:
        """Faster or slower from the next step on."""
        self.speed = speed
        self._changed = True

    def advance(self, now: float) -> dict[Key, int]:
        """Run every step that ends by `now`: new tokens of each sequence. One that only reads is there once, with 0."""
        _, gone = self._run(now)
        made = {key: one.output - one.reported for key, one in gone}
        for key, one in self._batch.items():
            if new := self._steps - one.joined - one.reported:
                one.reported += new
                made[key] = new
        return made

    def progress(self, now: float) -> tuple[list[Key], list[Key]]:
        """Run every step that ends by `now`: who got the first token, and who the last. Costs what happened, not what runs."""
        first, gone = self._run(now)
        return first, [key for key, _ in gone]

    def made(self, key: Key) -> int:
        """The tokens that a sequence has until now; 0 while it waits, or is not here."""
        one = self._batch.get(key)
        return 0 if one is None else self._steps - one.joined

    @property
    def running(self) -> int:
        return len(self._batch)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def kv_usage(self) -> float:
        """The share of the cache that holds tokens now, 0 to 1."""
        held = sum(one.prompt + self._steps - one.joined for one in self._batch.values())
        return held / self.speed.kv_tokens

    def _run(self, now: float) -> tuple[list[Key], list[tuple[Key, _Sequence]]]:
        """Who got the first token, and who is done."""
        first: list[Key] = []
        gone: list[tuple[Key, _Sequence]] = []
        while self._step_ends is not None and self._step_ends <= now:
            self._steps += 1
            first.extend(key for key, one in self._fresh if self._batch.get(key) is one)
            self._finish(gone)
            self._begin_step(self._step_ends)
            self._leap(now)
        return first, gone

    def _begin_step(self, now: float) -> None:
        prefill = self._join()
        self._changed = False
        if not self._batch:
            self._step_ends = None
            return
        speed = self.speed
        self._decode_seconds = speed.step_seconds + speed.step_seconds_per_sequence * len(self._batch)
        self._step_ends = now + prefill / speed.prefill_tokens_per_second + self._decode_seconds

    def _leap(self, now: float) -> None:
        """Over the steps that end by `now` and are like the one that has just begun; the last before an end is left to be walked."""
        if self._step_ends is None or self._fresh or self._step_ends > now:
            return
        alike = self._ends[0][0] - self._steps - 1
        if self._decode_seconds > 0.0:
            alike = min(alike, int((now - self._step_ends) / self._decode_seconds))
        if alike > 0:
            self._steps += alike
            self._step_ends += alike * self._decode_seconds

    def _join(self) -> int:
        """Let in what fits, in order. Returns the prompt tokens that the coming step must read."""
        self._fresh = []
        prefill = 0
        while self._queue and len(self._batch) < self.speed.max_batch:
            key = self._queue[0]
            one = self._waiting.get(key)
            if one is not None:
                if self._reserved + one.reserved > self.speed.kv_tokens:
                    break
                del self._waiting[key]
                self._admit(key, one)
                prefill += one.unread
            self._queue.popleft()
        return prefill

    def _admit(self, key: Key, one: _Sequence) -> None:
        self._batch[key] = one
        self._reserved += one.reserved
        self._fresh.append((key, one))
        self._joined += 1
        one.joined = self._steps
        heapq.heappush(self._ends, (self._steps + max(one.output, 1), self._joined, key, one))

    def _finish(self, gone: list[tuple[Key, _Sequence]]) -> None:
        ends = self._ends
        while ends and ends[0][0] <= self._steps:
            _, _, key, one = heapq.heappop(ends)
            if self._batch.get(key) is one:
                del self._batch[key]
                self._reserved -= one.reserved
                gone.append((key, one))
