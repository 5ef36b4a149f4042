"""Who asks for what, and when: the requests of a rehearsal, made from a seed or read from a trace."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple

from penstock.domain.principal import ServiceClass

MIX: Mapping[ServiceClass, float] = {ServiceClass.ENTERPRISE: 0.1, ServiceClass.PREMIUM: 0.3, ServiceClass.FREE: 0.6}
"""Share of the requests of each class in ordinary traffic."""


class PlannedRequest(NamedTuple):
    """One request. `at`: seconds after the start."""

    at: float
    prompt_tokens: int
    output_tokens: int
    """That the worker will make; not known before."""
    max_tokens: int
    """As the client sets it."""
    service_class: ServiceClass = ServiceClass.PREMIUM
    org_id: str = "org"
    prefix: int = 0
    """Prompts with the same number begin alike; 0: like no other."""
    prefix_tokens: int = 0
    timeout_seconds: float | None = None
    tier: str | None = None


class Shape(NamedTuple):
    """Tokens of a request."""

    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """Log-normal lengths, as those of production traces are (means and spread of the Azure conversation trace by default)."""

    prompt_median: float = 1020.0
    prompt_sigma: float = 0.9
    output_median: float = 130.0
    output_sigma: float = 0.9
    longest_prompt: int = 8_000
    longest_output: int = 1_000

    def draw(self, random: Random) -> Shape:
        prompt = random.lognormvariate(0.0, self.prompt_sigma) * self.prompt_median
        output = random.lognormvariate(0.0, self.output_sigma) * self.output_median
        return Shape(min(max(int(prompt), 4), self.longest_prompt), min(max(int(output), 1), self.longest_output))


def poisson(random: Random, rate: float, seconds: float, start: float = 0.0) -> Iterator[float]:
    """Moments of a Poisson process of `rate` a second."""
    at = start
    while True:
        at += random.expovariate(rate)
        if at >= start + seconds:
            return
        yield at


def steps(random: Random, rates: Sequence[tuple[float, float]]) -> Iterator[float]:
    """A Poisson process whose rate changes: (seconds, rate) one after the other."""
    start = 0.0
    for seconds, rate in rates:
        yield from poisson(random, rate, seconds, start)
        start += seconds


def asks(moments: Iterable[float], draw: Callable[[], Shape], **fields: Any) -> list[PlannedRequest]:
    """The client sets `max_tokens` to what its answer will be at most: its true length rounded up to a power of two, at least 64."""
    made: list[PlannedRequest] = []
    for at in moments:
        shape = draw()
        made.append(PlannedRequest(at, shape.prompt_tokens, shape.output_tokens, at_most(shape.output_tokens))._replace(**fields))
    return made


def at_most(output_tokens: int) -> int:
    return max(64, 1 << (output_tokens - 1).bit_length())


def of_classes(
    random: Random, given: Sequence[PlannedRequest], mix: Mapping[ServiceClass, float] = MIX, orgs: int = 8
) -> list[PlannedRequest]:
    """Each request gets a class by the shares in `mix`, and one of the class's organisations."""
    classes, shares = list(mix), list(mix.values())
    chosen = random.choices(classes, shares, k=len(given))
    return [
        ask._replace(service_class=each, org_id=f"{each.name.lower()}-{random.randrange(orgs)}")
        for ask, each in zip(given, chosen, strict=True)
    ]


def zipf_prefixes(
    random: Random, given: Sequence[PlannedRequest], prefixes: int, exponent: float, prefix_tokens: int
) -> list[PlannedRequest]:
    """Each prompt begins with one of so many system prompts; the k-th of them is 1 / k^exponent as popular as the first."""
    weights = list(accumulate(1.0 / rank**exponent for rank in range(1, prefixes + 1)))
    chosen = random.choices(range(1, prefixes + 1), cum_weights=weights, k=len(given))
    return [
        ask._replace(prefix=prefix, prefix_tokens=prefix_tokens, prompt_tokens=prefix_tokens + ask.prompt_tokens)
        for ask, prefix in zip(given, chosen, strict=True)
    ]


def merged(*parts: Iterable[PlannedRequest]) -> list[PlannedRequest]:
    return list(heapq.merge(*parts, key=lambda ask: ask.at))


def scaled(given: Sequence[PlannedRequest], factor: float) -> list[PlannedRequest]:
    """The same requests, `factor` times as fast."""
    return [ask._replace(at=ask.at / factor) for ask in given]


def work_tokens(given: Sequence[PlannedRequest]) -> int:
    return sum(ask.prompt_tokens + ask.output_tokens for ask in given)
