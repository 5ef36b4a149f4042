"""Whether memory stays where it is: the gateway's RSS over many requests, streams among them."""

import sys
import time
from dataclasses import dataclass

from bench.contenders import PENSTOCK, LeftOut
from bench.section import NOTHING, Section
from bench.stage import Options, Running, Stage, opened

_SLICE_SECONDS = 1
_SLOWEST_PER_SECOND = 2000
"""A gateway that serves fewer is not waited for until the last request."""
_LEAST_SECONDS = 60
_STREAM_EVERY = 5
"""One slice of so many is streams."""


@dataclass(frozen=True, slots=True)
class Sample:
    requests: int
    rss_mb: float


def memory(options: Options) -> Section:
    with opened(options) as stage:
        try:
            with stage.started(PENSTOCK) as gateway:
                samples, bad = _samples(stage, gateway)
        except LeftOut as problem:
            return section([], options.requests, 0, (f"{PENSTOCK} was left out: {problem}",))
    return section(samples, options.requests, bad)


def _samples(stage: Stage, gateway: Running) -> tuple[list[Sample], int]:
    """One at the start, then one for each slice of load."""
    options = stage.options
    samples, bad, number = [Sample(0, gateway.process.rss_mb())], 0, 0
    give_up = time.monotonic() + max(_LEAST_SECONDS, options.requests / _SLOWEST_PER_SECOND)
    while samples[-1].requests < options.requests and time.monotonic() < give_up:
        number += 1
        stream = number % _STREAM_EVERY == 0
        result = stage.generator.run(gateway.target, stream=stream, seconds=_SLICE_SECONDS, connections=options.connections)
        samples.append(Sample(samples[-1].requests + result.requests, gateway.process.rss_mb()))
        bad += result.bad
        print(f"bench: {samples[-1].requests:,} requests, {samples[-1].rss_mb:.1f} MB", file=sys.stderr)
    return samples, bad


def section(samples: list[Sample], requests: int, bad: int, notes: tuple[str, ...] = ()) -> Section:
    """Growth counts from the first tenth of the requests: until then caches and buffers fill."""
    complete = bool(samples) and samples[-1].requests >= requests and not bad
    if samples and samples[-1].requests < requests:
        notes += (f"only {samples[-1].requests:,} requests in the time",)
    if bad:
        notes += (f"{bad:,} bad answers",)
    tenth = next((each for each in samples if each.requests >= requests / 10), None)
    last = samples[-1] if complete else None
    figures = {
        "rss_mb": last.rss_mb if last else None,
        "rss_growth_mb": last.rss_mb - tenth.rss_mb if last and tenth else None,
    }
    points = (("at the start", samples[0] if samples else None), ("after a tenth", tenth), ("at the end", samples[-1] if samples else None))
    rows = tuple(
        (name, f"{sample.requests:,}" if sample else NOTHING, f"{sample.rss_mb:.1f}" if sample else NOTHING) for name, sample in points
    )
    data = {"samples": [(each.requests, round(each.rss_mb, 1)) for each in samples]}
    return Section("memory", "Memory over many requests", ("", "requests", "RSS MB"), rows, figures, notes, data)
