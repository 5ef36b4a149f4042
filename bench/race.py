"""Contenders side by side over the same upstream, in interleaved rounds: requests/s, latency, CPU for each request, memory."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.contenders import NGINX, PENSTOCK, VLLM_ROUTER
from bench.figures import Measurement, Spread, ratios
from bench.section import Section, median, shown
from bench.stage import DIRECT, Options, Running, Stage, opened

REQUESTS, STREAMS = "race", "streams"
TITLES = {REQUESTS: "Requests/s (unary)", STREAMS: "Streams/s (40 words, a chunk each)"}


@dataclass(frozen=True, slots=True)
class Results:
    """All rounds of one kind, by contender."""

    kind: str
    rounds: dict[str, list[Measurement]]
    rss_mb: dict[str, float]
    """At the end of the race."""
    left_out: dict[str, str]

    def spread(self, name: str, field: str) -> Spread | None:
        return Spread.of([getattr(each, field) for each in self.rounds.get(name, ()) if not each.void])

    def ratio(self, name: str, other: str) -> Spread | None:
        return ratios(self.rounds.get(name, ()), self.rounds.get(other, ()))


def race(options: Options, kinds: Sequence[str]) -> list[Section]:
    with opened(options) as stage:
        contenders = stage.enter(options.contenders)
        rounds: dict[str, dict[str, list[Measurement]]] = {kind: {one.name: [] for one in contenders} for kind in kinds}
        for number in range(options.rounds + 1):
            print(f"bench: {'warming up' if number == 0 else f'round {number} of {options.rounds}'}", file=sys.stderr)
            for kind in kinds:
                for one in contenders:
                    found = _measure(stage, one, kind, warming=number == 0)
                    if number:
                        rounds[kind][one.name].append(found)
        rss_mb = {one.name: one.process.rss_mb() for one in contenders}
        return [section(Results(kind, rounds[kind], rss_mb, stage.left_out), stage.generator.name) for kind in kinds]


def _measure(stage: Stage, contender: Running, kind: str, *, warming: bool) -> Measurement:
    options = stage.options
    seconds = 1 if warming else options.seconds
    return stage.measure(contender, stream=kind == STREAMS, seconds=seconds, connections=options.connections)


def section(results: Results, generator: str) -> Section:
    columns = ("", "per second", "÷ nginx", "÷ vllm-router", "p50 ms", "p99 ms", "CPU us", "RSS MB")
    rows = tuple(_row(results, name) for name in results.rounds)
    return Section(results.kind, TITLES[results.kind], columns, rows, _figures(results), tuple(_notes(results, generator)), _data(results))


def _row(results: Results, name: str) -> tuple[str, ...]:
    spread = results.spread
    return (
        name,
        shown(spread(name, "per_second"), 0),
        shown(results.ratio(name, NGINX), 2),
        shown(results.ratio(name, VLLM_ROUTER), 2),
        shown(spread(name, "p50_ms"), 2),
        shown(spread(name, "p99_ms"), 2),
        shown(spread(name, "cpu_us"), 1),
        f"{results.rss_mb[name]:,.0f}",
    )


def _figures(results: Results) -> dict[str, float | None]:
    if results.kind == STREAMS:
        return {"streams_vs_nginx": median(results.ratio(PENSTOCK, NGINX))}
    return {
        "unary_vs_nginx": median(results.ratio(PENSTOCK, NGINX)),
        "unary_vs_vllm_router": median(results.ratio(PENSTOCK, VLLM_ROUTER)),
        "unary_cpu_us": median(results.spread(PENSTOCK, "cpu_us")),
    }


def _notes(results: Results, generator: str) -> list[str]:
    notes = [f"{name} was left out: {why}" for name, why in results.left_out.items()]
    for name, rounds in results.rounds.items():
        void = [each.void for each in rounds if each.void]
        if void:
            notes.append(f"{name}: {len(void)} of {len(rounds)} rounds void, the last because {void[-1]}")
    if generator != "wrk":
        notes.append("load by the built-in generator, which takes more CPU from the contenders than wrk (apt-get install wrk)")
    return notes


def _data(results: Results) -> dict[str, Any]:
    return {
        name: {
            "rounds": [asdict(each) for each in rounds],
            "rss_mb": round(results.rss_mb[name], 1),
            "vs_nginx": median(results.ratio(name, NGINX)),
            "vs_vllm_router": median(results.ratio(name, VLLM_ROUTER)),
        }
        for name, rounds in results.rounds.items()
    }


def added_latency(options: Options) -> Section:
    """One connection, one request at a time: what a contender adds to the upstream's own time, in the same round."""
    with opened(options) as stage:
        contenders = stage.enter(tuple(name for name in options.contenders if name in (NGINX, PENSTOCK)))
        rounds: dict[str, list[Measurement]] = {one.name: [] for one in contenders}
        for number in range(options.rounds + 1):
            for one in contenders:
                found = stage.measure(one, stream=False, seconds=options.seconds if number else 1, connections=1)
                if number:
                    rounds[one.name].append(found)
        return latency_section(rounds)


def latency_section(rounds: dict[str, list[Measurement]]) -> Section:
    added = {name: _added(found, rounds[DIRECT]) for name, found in rounds.items() if name != DIRECT}
    rows = [
        (
            name,
            *(shown(Spread.of([getattr(each, field) for each in found]), 3) for field in ("p50_ms", "p99_ms")),
            shown(added.get(name), 3),
        )
        for name, found in rounds.items()
    ]
    data = {name: {"rounds": [asdict(each) for each in found]} for name, found in rounds.items()}
    notes = tuple(f"{name}: {each.void}" for name, found in rounds.items() for each in found if each.void)
    columns = ("", "p50 ms", "p99 ms", "p50 added ms")
    figures = {"p50_added_ms": median(added.get(PENSTOCK))}
    return Section("latency", "Latency at one connection", columns, tuple(rows), figures, notes, data)


def _added(found: list[Measurement], direct: list[Measurement]) -> Spread | None:
    return Spread.of([one.p50_ms - bare.p50_ms for one, bare in zip(found, direct, strict=True) if not one.void and not bare.void])
