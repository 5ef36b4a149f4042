"""What the queue's benchmark makes of its measurements; and that its work is real work."""

import asyncio
from pathlib import Path

from bench.goals import Verdict, judge
from bench.queue import measures
from bench.queue.sections import Found, as_section
from bench.queue.work import Submitter, claim_and_end, opened


def test_figures_are_medians_and_ratios_and_are_judged() -> None:
    found = Found()
    for life in (2000.0, 9000.0, 4000.0):
        found.add("life", life)
    for name, value in (("claim_before", 2.0), ("claim_after", 3.5), ("search_before", 4.0), ("search_after", 4.0)):
        found.add(name, value)
    section = as_section({"sqlite": found}, ())
    assert section.columns == ("", "sqlite")
    assert section.rows[0][1] == "4,000 (2,000-9,000)"
    assert {key: value for key, value in section.figures.items() if "ratio" in key} == {
        "queue_sqlite_claim_ratio": 1.75,
        "queue_sqlite_search_ratio": 1.0,
    }
    verdicts = {check.goal.name: check.verdict for check in judge([section])}
    assert verdicts["tasks/s through their whole life, SQLite"] is Verdict.PASSED
    assert verdicts["claim p99, many finished ÷ few, SQLite"] is Verdict.FAILED


def test_its_tasks_are_really_done(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(f"sqlite:///{tmp_path}/queue.db") as store:
            await Submitter(store.tasks).submit(300, batch=100)
            assert await claim_and_end(store.tasks, "run_1") == 300
            assert await measures.search_latency(store.tasks, lambda number: f"hundredth{number % 100}") > 0
            life, per_flush = await measures.two_in_process(store, 200)
            assert life > 0
            assert per_flush > 10

    asyncio.run(work())
