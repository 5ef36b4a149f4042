"""The process dies between any two lines of the journal, and the next one loses nothing and counts nothing twice."""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from penstock.domain.usage import Outcome, UsageRecord
from penstock.storage import journal
from penstock.storage.journal import segments
from penstock.storage.journal.journal import Journal
from penstock.storage.journal.slots import Slot
from tests.unit.storage.journal.ledger import MemoryLedger, record, same

INTERPRETED = pytest.mark.skipif(not str(segments.__file__).endswith(".py"), reason="compiled rooms have no lines to stop between")
JOURNAL = str(Path(journal.__file__).parent)
Files = dict[str, bytes]


@dataclass(frozen=True)
class Crash:
    """What outlives the process, and what was promised until then."""

    where: str
    files: Files
    batches: dict[str, list[UsageRecord]]
    delivered: dict[str, int]
    """Tokens that had left, by request, before the line ran."""
    finished: frozenset[str]
    asked: frozenset[str]
    """Every request that there was; what was just being noted may be there or not."""


class Traffic:
    """A journal at work, and what it has promised."""

    def __init__(self, directory: Path, ledger: MemoryLedger) -> None:
        self.directory = directory
        self.ledger = ledger
        self.journal = new(directory, ledger)
        self.slots: dict[str, Slot] = {}
        self.asked: set[str] = set()
        self.delivered: dict[str, int] = {}
        self.finished: set[str] = set()

    def begin(self, name: str) -> None:
        self.asked.add(name)
        slot = self.journal.begin(record(name))
        assert slot is not None
        self.slots[name] = slot
        self.delivered[name] = 0

    def token(self, name: str) -> None:
        self.slots[name].update(10, self.delivered[name] + 1)
        self.delivered[name] += 1

    def finish(self, name: str) -> None:
        self.asked.add(name)
        self.journal.finish(record(name, self.delivered.get(name, 0)))
        self.delivered.setdefault(name, 0)
        self.finished.add(name)

    def clear(self, name: str) -> None:
        self.slots[name].clear()

    def crash(self, where: str) -> Crash:
        return Crash(
            where, files(self.directory), dict(self.ledger.batches), dict(self.delivered), frozenset(self.finished), frozenset(self.asked)
        )


def new(directory: Path, ledger: MemoryLedger) -> Journal:
    # One slot a file and four records a file, so that there are several of each.
    return Journal(directory, ledger, slots_per_file=1, flush_seconds=60, segment_bytes=1000)


def files(directory: Path) -> Files:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def restore(directory: Path, kept: Files) -> Path:
    for name, data in kept.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


@contextmanager
def before_each_line(act: Callable[[str], None]) -> Iterator[None]:
    """Act before each line of the journal's own code, and when a function of it returns."""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(JOURNAL):
            return None
        if event in ("line", "return"):
            act(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {event}")
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(previous)


async def play(traffic: Traffic) -> None:
    traffic.begin("stream-1")
    traffic.token("stream-1")
    traffic.begin("stream-2")
    traffic.begin("stream-3")
    for number in range(6):
        traffic.finish(f"unary-{number}")
    traffic.token("stream-2")
    await traffic.journal.flush()
    traffic.finish("stream-1")
    traffic.clear("stream-1")
    traffic.token("stream-3")
    traffic.ledger.away = True
    await traffic.journal.flush()
    traffic.begin("stream-4")
    traffic.finish("unary-6")
    traffic.ledger.away = False
    await traffic.journal.flush()
    traffic.finish("stream-2")
    traffic.finish("stream-4")


def check(crash: Crash, found: list[UsageRecord]) -> None:
    ids = [one.request_id for one in found]
    assert len(ids) == len(set(ids)), f"counted twice after {crash.where}: {sorted(ids)}"
    assert set(crash.delivered) <= set(ids) <= crash.asked, f"lost or made up after {crash.where}"
    for one in found:
        delivered = crash.delivered.get(one.request_id, 0)
        assert one.completion_tokens in (delivered, delivered + 1), f"tokens after {crash.where}"
        if one.request_id in crash.finished:
            assert one.outcome is Outcome.COMPLETED


async def recovered(directory: Path, crash: Crash) -> list[UsageRecord]:
    ledger = MemoryLedger(crash.batches)
    journal = new(restore(directory, crash.files), ledger)
    journal.open(same)
    await journal.close()
    assert not any("seg_" in name for name in files(directory)), "what the ledger has is not on the disk any more"
    return ledger.records


async def crashes_of(traffic: Traffic) -> list[Crash]:
    """One for each line at which something on the disk, in the ledger or in what was promised had changed."""
    seen: list[Crash] = []

    def act(where: str) -> None:
        crash = traffic.crash(where)
        if not seen or (crash.files, crash.batches, crash.delivered, crash.finished, crash.asked) != (
            seen[-1].files,
            seen[-1].batches,
            seen[-1].delivered,
            seen[-1].finished,
            seen[-1].asked,
        ):
            seen.append(crash)

    with before_each_line(act):
        traffic.journal.open(same)
        await play(traffic)
    return seen


@pytest.mark.fault("Crash between any two writes of the journal", "nothing lost, nothing doubled")
@INTERPRETED
async def test_a_crash_anywhere_loses_and_doubles_nothing(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path / "journal", MemoryLedger())
    crashes = await crashes_of(traffic)
    assert len(crashes) > 50
    assert any(set(crash.batches) & {Path(name).stem for name in crash.files} for crash in crashes), "committed, and not yet deleted"
    for number, crash in enumerate(crashes):
        check(crash, await recovered(tmp_path / f"after-{number}", crash))
    await traffic.journal.close()


@INTERPRETED
async def test_a_crash_anywhere_in_the_recovery_loses_and_doubles_nothing(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path / "journal", MemoryLedger())
    traffic.journal.open(same)
    await play(traffic)
    first = traffic.crash("the end: two streams cut, two recorded and not cleared, a file that the ledger has not got")
    await traffic.journal.close()

    numbers = itertools.count()
    second: list[Crash] = []
    directory = restore(tmp_path / "again", first.files)
    ledger = MemoryLedger(first.batches)

    def act(where: str) -> None:
        crash = Crash(where, files(directory), dict(ledger.batches), first.delivered, first.finished, first.asked)
        if not second or (crash.files, crash.batches) != (second[-1].files, second[-1].batches):
            second.append(crash)

    journal = new(directory, ledger)
    with before_each_line(act):
        assert journal.open(same) == 1
        await journal.close()
    assert len(second) > 5
    for crash in second:
        check(crash, await recovered(tmp_path / f"after-{next(numbers)}", crash))
