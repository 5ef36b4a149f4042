"""The production trace, made smaller: its lengths and its moments, squeezed to the rate that a phase wants."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

from bench.overload.client import Shot
from bench.overload.platform import MODEL
from penstock.simulation.rehearsal.traces import azure
from penstock.simulation.rehearsal.traffic import PlannedRequest, Sizes, asks, poisson

MIX = {"enterprise": 0.1, "premium": 0.3, "free": 0.6}
TIMEOUT_SECONDS = 5.0
"""Every client waits so long for the first token, and says so."""
_SHORTER_PROMPT, _SHORTER_ANSWER = 8, 16
_LONGEST_ANSWER = 40


def trace(path: Path | None) -> list[PlannedRequest]:
    """The file, or traffic with its medians and spread when there is none."""
    if path is not None:
        return azure(path.read_text().splitlines())
    random, sizes = Random(1), Sizes()
    return asks(poisson(random, 5.4, 3_600.0), lambda: sizes.draw(random))


class Source:
    """Goes through the trace, and begins again at its end."""

    def __init__(self, given: Sequence[PlannedRequest], keys: Mapping[str, Sequence[str]], seed: int = 1) -> None:
        self._given = given
        self._keys = keys
        self._random = Random(seed)
        self._next = 0

    def phase(self, rate: float, seconds: float, start: float = 0.0, *, mixed: bool = False) -> Iterator[Shot]:
        """The trace from where the last phase ended, squeezed until it has `rate` requests/s; classes by their shares.

        `mixed`: its moments, but the lengths of any of its requests, so that what is asked for is the same on average all along.
        """
        for at, ask in self._squeezed(rate, seconds, start, mixed=mixed):
            yield self._shot(at, ask, self._random.choices(list(MIX), list(MIX.values()))[0])

    def asks(self, rate: float, seconds: float, start: float, *, mixed: bool) -> Iterator[PlannedRequest]:
        """As `phase`, for a rehearsal; everybody of one class."""
        for at, ask in self._squeezed(rate, seconds, start, mixed=mixed):
            prompt, answer = prompt_tokens(ask), answer_tokens(ask)
            yield PlannedRequest(at, prompt, answer, answer, timeout_seconds=TIMEOUT_SECONDS)

    def _squeezed(self, rate: float, seconds: float, start: float, *, mixed: bool) -> Iterator[tuple[float, PlannedRequest]]:
        count = max(2, int(rate * seconds))
        part = [self._given[(self._next + number) % len(self._given)] for number in range(count)]
        self._next += count
        pause = self._given[-1].at / len(self._given)
        moments = [0.0]
        for before, after in pairwise(part):
            moments.append(moments[-1] + (after.at - before.at if after.at >= before.at else pause))
        squeeze = moments[-1] / seconds
        for moment, ask in zip(moments, part, strict=True):
            yield start + moment / squeeze, self._random.choice(self._given) if mixed else ask

    def steady(self, group: str, key: str, rate: float, seconds: float) -> Iterator[Shot]:
        """One tenant's own requests."""
        for at in poisson(self._random, rate, seconds):
            ask = self._random.choice(self._given)
            yield shot(at, group, key, ask)

    def _shot(self, at: float, ask: PlannedRequest, group: str) -> Shot:
        return shot(at, group, self._random.choice(self._keys[group]), ask)


def answer_tokens(ask: PlannedRequest) -> int:
    return max(1, min(ask.output_tokens // _SHORTER_ANSWER, _LONGEST_ANSWER))


def prompt_tokens(ask: PlannedRequest) -> int:
    return max(1, ask.prompt_tokens // _SHORTER_PROMPT)


def shot(at: float, group: str, key: str, ask: PlannedRequest) -> Shot:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "water " * prompt_tokens(ask)}],
        "max_tokens": answer_tokens(ask),
        "ignore_eos": True,
        "stream": True,
    }
    return Shot(at, group, key, json.dumps(body).encode(), TIMEOUT_SECONDS)
