"""`python -m bench queue`: both stores, an empty one and one with a history."""

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field

import uvloop

from bench.figures import Spread, percentile
from bench.queue import measures
from bench.queue.database import database
from bench.queue.work import claim_and_end, opened
from bench.section import Section, median, shown
from bench.stage import Options
from penstock.domain.ports import TaskStore

_TASKS = 20_000
_SMALL_HISTORY = 10_000


@dataclass
class Found:
    """What was measured at one store."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)

    def spread(self, name: str) -> Spread | None:
        return Spread.of(self.values.get(name, []))


_ROWS = {
    "life": ("whole life of no-op tasks, two claimers, tasks/s", 0),
    "per_flush": ("tasks for each flush to the disk", 1),
    "enqueue": ("submitted in batches of 1,000, tasks/s", 0),
    "enqueue_two": ("the same by two callers at a time, tasks/s", 0),
    "start_p50": ("submission to start, idle, p50 ms", 2),
    "start_p99": ("submission to start, idle, p99 ms", 2),
    "claim_before": ("claim of 10, few finished tasks, p99 ms", 2),
    "claim_after": ("claim of 10, many finished tasks, p99 ms", 2),
    "search_before": ("search for a word in about 100 of few, p99 ms", 2),
    "search_after": ("search for a word in about 100 of many, p99 ms", 2),
    "search_common": ("search for a word in 1 % of many, p99 ms", 2),
}


def queue(options: Options) -> list[Section]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        found: dict[str, Found] = {}
        notes = [
            f"{options.finished:,} finished tasks are many, {_SMALL_HISTORY:,} few; medians of {options.rounds} rounds of {_TASKS:,} tasks"
        ]
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
            found["sqlite"] = loop.run(_sqlite(f"sqlite:///{folder}/queue.db", options))
        try:
            with database(options.postgres) as url:
                found["postgres"] = loop.run(_postgres(url, options))
        except ConnectionError as problem:
            notes.append(f"without PostgreSQL: {problem}")
        return [as_section(found, tuple(notes))]


async def _sqlite(url: str, options: Options) -> Found:
    found = Found()
    async with opened(url) as store:
        for _ in range(options.rounds):
            life, per_flush = await measures.two_in_process(store, _TASKS)
            found.add("life", life)
            found.add("per_flush", per_flush)
            found.add("enqueue", await measures.enqueue_rate(store.tasks, _TASKS))
            await claim_and_end(store.tasks, "run_1")
            found.add("enqueue_two", await measures.enqueue_rate_of_two(store.tasks, _TASKS))
            await claim_and_end(store.tasks, "run_1")
    async with opened(url.replace("queue.db", "history.db")) as store:
        await _with_history(store.tasks, options, found)
    return found


async def _postgres(url: str, options: Options) -> Found:
    found = Found()
    async with opened(url) as store:
        await _with_history(store.tasks, options, found)
        for _ in range(options.rounds):
            found.add("life", await measures.two_processes(url, store.tasks, _TASKS))
            found.add("enqueue", await measures.enqueue_rate(store.tasks, _TASKS))
            await claim_and_end(store.tasks, "run_1")
            found.add("enqueue_two", await measures.enqueue_rate_of_two(store.tasks, _TASKS))
            await claim_and_end(store.tasks, "run_1")
    return found


async def _with_history(tasks: TaskStore, options: Options, found: Found) -> None:
    starts = await measures.start_latencies(tasks)
    found.add("start_p50", percentile(starts, 0.5))
    found.add("start_p99", percentile(starts, 0.99))
    await measures.fill(tasks, _SMALL_HISTORY, _tell)
    found.add("claim_before", await measures.claim_latency(tasks))
    found.add("search_before", await measures.search_latency(tasks, lambda number: f"hundredth{number % 100}"))
    await measures.fill(tasks, options.finished - _SMALL_HISTORY, _tell)
    found.add("claim_after", await measures.claim_latency(tasks))
    found.add("search_after", await measures.search_latency(tasks, lambda number: f"tenthousandth{number}"))
    found.add("search_common", await measures.search_latency(tasks, lambda number: f"hundredth{number % 100}"))


def as_section(found: Mapping[str, Found], notes: tuple[str, ...]) -> Section:
    stores = tuple(found)
    rows = tuple((name, *(shown(found[store].spread(key), digits) for store in stores)) for key, (name, digits) in _ROWS.items())
    figures = {f"queue_{store}_{key}": median(found[store].spread(key)) for store in stores for key in _ROWS if key in found[store].values}
    for store in stores:
        for what in ("claim", "search"):
            figures[f"queue_{store}_{what}_ratio"] = _ratio(figures, f"queue_{store}_{what}")
    return Section("queue", "Task queue", ("", *stores), rows, figures, notes, dict(figures))


def _ratio(figures: Mapping[str, float | None], name: str) -> float | None:
    before, after = figures.get(f"{name}_before"), figures.get(f"{name}_after")
    return after / before if before and after else None


def _tell(done: int) -> None:
    if done % 100_000 == 0 and done:
        print(f"bench: {done:,} finished tasks", file=sys.stderr)
