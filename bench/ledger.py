"""What one usage record costs on its way from the end of a request to the ledger, in processor time.

Batches of a few sizes go to a new store; the best of many is what the code costs, the rest is the machine's. `loop` is the thread that
serves requests meanwhile, `process` all threads of the gateway; a database server's own time is not in it.

`python -m bench.ledger [--store URL] [--organisations N] [--rounds N]`
"""

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from penstock.domain.ids import new_id
from penstock.domain.inference import Operation
from penstock.domain.ports import UsageLedger, UsageQuery
from penstock.domain.usage import Outcome, UsageRecord
from penstock.storage.journal.segments import Segments
from penstock.storage.stores import open_store

_SIZES = (250, 1000, 5000)
_KEYS = 8
_REQUESTS_A_SECOND = 5000


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds a record."""

    loop: float
    process: float


def records(count: int, organisations: int, started_at: float) -> list[UsageRecord]:
    """As busy gateways make them: organisations, keys and models in turn."""
    return [
        UsageRecord(
            request_id=new_id("req"),
            org_id=f"org_{number % organisations:026}",
            key_id=f"key_{number % organisations:020}{number % _KEYS:06}",
            model=("sim-small", "sim-large")[number % 2],
            operation=Operation.CHAT.value,
            service_tier="default",
            service_class="premium",
            worker_id=f"wrk_{number % 3:026}",
            outcome=Outcome.COMPLETED,
            prompt_tokens=120 + number % 50,
            completion_tokens=64,
            cached_tokens=0,
            reasoning_tokens=0,
            estimated=False,
            cost_micros=1234 + number % 7,
            started_at=started_at + number / _REQUESTS_A_SECOND,
            finished_at=started_at + number / _REQUESTS_A_SECOND + 1.25,
            ttft_ms=12.345678,
            queue_ms=0.012345,
            retries=0,
            currency="USD",
        )
        for number in range(count)
    ]


def journal_cost(directory: Path, size: int, rounds: int) -> Cost:
    """Appending to the file; the gateway does it before the last bytes of an answer leave."""
    segments, batch, best = Segments(), records(size, 1, time.time()), float("inf")
    segments.open(directory)
    for _ in range(rounds):
        began = time.process_time()
        for record in batch:
            segments.append(record)
        best = min(best, time.process_time() - began)
        for cut in segments.cut():
            segments.discard(cut)
    return Cost(best / size * 1e6, best / size * 1e6)


async def ledger_cost(ledger: UsageLedger, size: int, organisations: int, rounds: int) -> Cost:
    loop = process = float("inf")
    for _ in range(rounds):
        batch = records(size, organisations, time.time())
        began = time.thread_time(), time.process_time()
        await ledger.append(new_id("seg"), batch)
        loop, process = min(loop, time.thread_time() - began[0]), min(process, time.process_time() - began[1])
    return Cost(loop / size * 1e6, process / size * 1e6)


async def reading(ledger: UsageLedger) -> list[tuple[str, float]]:
    """Milliseconds for what people ask of a ledger that holds all of it."""
    newest = await ledger.records(UsageQuery(limit=100))
    one, half_an_hour_ago = newest[50], time.time() - 1800.5
    asked: list[tuple[str, Awaitable[object]]] = [
        ("a page of one organisation", ledger.records(UsageQuery(org_id=one.org_id, limit=100))),
        ("the next page", ledger.records(UsageQuery(limit=100), newest[-1].request_id)),
        ("one request", ledger.record(one.request_id)),
        ("half an hour of one organisation", ledger.report(UsageQuery(org_id=one.org_id, since=half_an_hour_ago))),
        ("half an hour of everybody", ledger.report(UsageQuery(since=half_an_hour_ago, group_by=("key", "model")))),
    ]
    found = []
    for name, answer in asked:
        began = time.perf_counter()
        await answer
        found.append((name, (time.perf_counter() - began) * 1000))
    return found


async def measure(url: str | None, organisations: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(url or f"sqlite:///{folder}/penstock.db", migrate=True)
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)  # as the gateway does
        print(f"{'us a record':<28}{'batch of':>10}{'loop':>8}{'process':>9}")
        for size in _SIZES:
            _print("journal", size, journal_cost(Path(folder), size, rounds))
        for size in _SIZES:
            _print(f"ledger, {organisations} organisation(s)", size, await ledger_cost(store.ledger, size, organisations, rounds))
        print("\nms, all of it in the ledger")
        for name, milliseconds in await reading(store.ledger):
            print(f"{name:<46}{milliseconds:>9.1f}")
        await store.close()


def _print(what: str, size: int, cost: Cost) -> None:
    print(f"{what:<28}{size:>10}{cost.loop:>8.2f}{cost.process:>9.2f}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description="Measure what a usage record costs.")
    parser.add_argument("--store", metavar="URL", help="an empty database, instead of a new SQLite file")
    parser.add_argument("--organisations", type=int, default=1, metavar="N", help="that make requests in turn [1]")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="of which the best is taken [30]")
    parsed = parser.parse_args(arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(parsed.store, parsed.organisations, parsed.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
