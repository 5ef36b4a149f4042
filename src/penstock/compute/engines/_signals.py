"""What a server's metrics page says of its load, whichever engine it is: the names come from `load_signals.toml`."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from penstock.domain.workers import WorkerLoad

_SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{[^}]*\})?\s+(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Signals:
    """One engine's row of the data file."""

    engine: str
    owned_by: tuple[str, ...] = ()
    prefix: str = ""
    metrics: str = ""
    """Path of the metrics page; empty: it has none."""
    running: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    kv_usage: tuple[str, ...] = ()
    ttft: str = ""
    proof_path: str = ""
    """A page that tells whether it is this engine; empty: what it says of itself is believed."""
    proof: str = ""
    """A text in that page."""
    unsupported: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """A load, and the totals from which the next reading tells its mean time to first token."""

    load: WorkerLoad
    ttft_sum: float = 0.0
    ttft_count: float = 0.0


@cache
def table() -> Mapping[str, Signals]:
    text = resources.files("penstock.compute.engines").joinpath("load_signals.toml").read_text("utf-8")
    return {name: _row(name, row) for name, row in tomllib.loads(text).items()}


def unsupported(engine: str) -> frozenset[str]:
    """Parameters that an engine is known to ignore; none for an engine that we do not know."""
    row = table().get(engine)
    return row.unsupported if row is not None else frozenset()


def engine_of(owners: Iterable[str]) -> str:
    """Which engine says `owned_by` so; `openai` when none that we know."""
    owner_names = set(owners)
    return next((row.engine for row in table().values() if owner_names & set(row.owned_by)), "openai")


def proven_by_page() -> Sequence[Signals]:
    """Engines that no owner of models names: only a page of theirs does."""
    return [row for row in table().values() if row.proof and not row.owned_by]


def engine_of_metrics(page: str) -> str:
    """Which engine writes such metrics; empty: none that we know."""
    return next((row.engine for row in table().values() if row.prefix and f"\n{row.prefix}" in f"\n{page}"), "")


def read(signals: Signals, page: str, before: EngineMetrics | None = None) -> EngineMetrics:
    """A load from a metrics page. Gauges of several models on one server are added up; of cache usages the fullest counts."""
    samples: dict[str, list[float]] = {}
    for name, value in _SAMPLE.findall(page):
        try:
            samples.setdefault(name, []).append(float(value))
        except ValueError:
            continue  # not a number: not a sample
    total = sum(samples.get(f"{signals.ttft}_sum", ()))
    count = sum(samples.get(f"{signals.ttft}_count", ()))
    load = WorkerLoad(
        running=int(sum(_first(samples, signals.running))),
        waiting=int(sum(_first(samples, signals.waiting))),
        kv_usage=min(1.0, max(0.0, max(_first(samples, signals.kv_usage), default=0.0))),
        ttft_seconds=_mean_since(before, total, count),
    )
    return EngineMetrics(load, total, count)


def _mean_since(before: EngineMetrics | None, total: float, count: float) -> float | None:
    """None: nothing was answered since then. A server that restarted begins from zero."""
    if before is None or count < before.ttft_count:
        return total / count if count else None
    answered = count - before.ttft_count
    return (total - before.ttft_sum) / answered if answered else before.load.ttft_seconds


def _first(samples: Mapping[str, list[float]], names: Iterable[str]) -> list[float]:
    return next((samples[name] for name in names if name in samples), [])


def _row(name: str, row: Mapping[str, object]) -> Signals:
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    if isinstance(fields.get("unsupported"), tuple):
        fields["unsupported"] = frozenset(row["unsupported"])  # type: ignore[call-overload]  # a list of names in our own file
    return Signals(name, **fields)  # type: ignore[arg-type]  # the file is ours; a test reads it whole
