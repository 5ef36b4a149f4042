"""What the gateway has to reach, and whether it did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bench.section import Section


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    VOID = "void"
    """It was measured, but something other than the gateway decided the result, or what it is compared with is missing."""


@dataclass(frozen=True, slots=True)
class Goal:
    name: str
    limit: float
    at_least: bool
    """Otherwise less than the limit, or just it."""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    goal: Goal
    measured: float | None

    @property
    def verdict(self) -> Verdict:
        if self.measured is None:
            return Verdict.VOID
        reached = self.measured >= self.goal.limit if self.goal.at_least else self.measured <= self.goal.limit
        return Verdict.PASSED if reached else Verdict.FAILED

    @property
    def required(self) -> str:
        return f"{'at least' if self.goal.at_least else 'at most'} {self.goal.limit:g}{self.goal.unit}"


GOALS: Mapping[str, Goal] = {
    "unary_vs_nginx": Goal("requests/s ÷ nginx", 0.55, at_least=True),
    "unary_vs_vllm_router": Goal("requests/s ÷ vllm-router", 1.5, at_least=True),
    "unary_cpu_us": Goal("CPU per request", 50, at_least=False, unit=" us"),
    "streams_vs_nginx": Goal("streams/s ÷ nginx", 0.9, at_least=True),
    "p50_added_ms": Goal("p50 added at one connection", 0.5, at_least=False, unit=" ms"),
    "rss_mb": Goal("RSS after the requests", 120, at_least=False, unit=" MB"),
    "rss_growth_mb": Goal("RSS growth after the first tenth of them", 10, at_least=False, unit=" MB"),
    "ready_s": Goal("ready", 3, at_least=False, unit=" s"),
    "ready_workers_s": Goal("ready, with two workers", 3, at_least=False, unit=" s"),
    "queue_sqlite_life": Goal("tasks/s through their whole life, SQLite", 3000, at_least=True),
    "queue_sqlite_per_flush": Goal("tasks for each flush to the disk, SQLite", 20, at_least=True),
    "queue_postgres_life": Goal("tasks/s through their whole life, PostgreSQL", 5000, at_least=True),
    "queue_sqlite_enqueue": Goal("tasks/s submitted, SQLite", 15_000, at_least=True),
    "queue_postgres_enqueue": Goal("tasks/s submitted, PostgreSQL", 15_000, at_least=True),
    "queue_sqlite_start_p50": Goal("submission to start p50, SQLite", 5, at_least=False, unit=" ms"),
    "queue_sqlite_start_p99": Goal("submission to start p99, SQLite", 25, at_least=False, unit=" ms"),
    "queue_postgres_start_p50": Goal("submission to start p50, PostgreSQL", 5, at_least=False, unit=" ms"),
    "queue_postgres_start_p99": Goal("submission to start p99, PostgreSQL", 25, at_least=False, unit=" ms"),
    "queue_sqlite_claim_ratio": Goal("claim p99, many finished ÷ few, SQLite", 1.5, at_least=False),
    "queue_postgres_claim_ratio": Goal("claim p99, many finished ÷ few, PostgreSQL", 1.5, at_least=False),
    "queue_sqlite_search_ratio": Goal("search p99, many finished ÷ few, SQLite", 1.5, at_least=False),
    "queue_postgres_search_ratio": Goal("search p99, many finished ÷ few, PostgreSQL", 1.5, at_least=False),
    "queue_sqlite_search_common": Goal("search p99 for 1 % of the tasks, SQLite", 50, at_least=False, unit=" ms"),
    "queue_postgres_search_common": Goal("search p99 for 1 % of the tasks, PostgreSQL", 50, at_least=False, unit=" ms"),
    "help_s": Goal("penstock --help", 0.3, at_least=False, unit=" s"),
}


def judge(sections: Iterable[Section]) -> tuple[Check, ...]:
    """The goals that these sections tried to measure, in the order of `GOALS`."""
    figures = {key: value for section in sections for key, value in section.figures.items()}
    return tuple(Check(goal, figures[key]) for key, goal in GOALS.items() if key in figures)


def as_section(checks: Iterable[Check]) -> Section:
    rows = [(c.goal.name, "—" if c.measured is None else f"{c.measured:,.3g}{c.goal.unit}", c.required, str(c.verdict)) for c in checks]
    return Section("goals", "Goals", ("goal", "measured", "required", "verdict"), tuple(rows))
