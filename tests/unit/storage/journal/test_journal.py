"""What the journal hands to the ledger, and when it cannot."""

import asyncio
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.storage.journal import segments
from penstock.storage.journal.journal import Journal
from penstock.storage.journal.segments import Segments
from tests.unit.storage.journal.ledger import MemoryLedger, record, same


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def journal(tmp_path: Path, ledger: MemoryLedger) -> Iterator[Journal]:
    made = Journal(tmp_path, ledger, slots_per_file=4, flush_seconds=60, segment_bytes=100_000)
    made.open(same)
    yield made
    asyncio.run(made.close())


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def files(directory: Path) -> list[str]:
    """The batches on the disk; an empty file is kept for the next one."""
    return sorted(path.stem for path in directory.rglob("seg_*.jsonl") if list(segments.read(path)))


async def test_a_flush_is_one_batch_named_after_its_file(journal: Journal, ledger: MemoryLedger, tmp_path: Path) -> None:
    many = [record(f"req_{number:03}", number) for number in range(300)]
    for one in many:
        journal.finish(one)
    (name,) = files(tmp_path)
    assert await journal.flush()
    assert ledger.batches == {name: many}
    assert files(tmp_path) == []
    assert journal.written == 300


async def test_a_file_is_used_again_under_another_name(journal: Journal, ledger: MemoryLedger, tmp_path: Path) -> None:
    inodes = set()
    for number in range(3):
        journal.finish(record(f"req_{number}", completion=10 ** (6 - 2 * number)))  # each shorter than the last
        (batch,) = segments.left_behind(tmp_path / "0")
        assert batch.path is not None
        inodes.add(batch.path.stat().st_ino)
        assert await journal.flush()
    assert len(inodes) == 1
    assert len(ledger.batches) == len(ledger.records) == 3


async def test_a_quiet_journal_writes_nothing(journal: Journal, ledger: MemoryLedger, tmp_path: Path) -> None:
    assert await journal.flush()
    assert ledger.batches == {}
    assert files(tmp_path) == []


def test_each_file_is_a_batch_of_its_own(tmp_path: Path) -> None:
    made = Segments(segment_bytes=1000)
    made.open(tmp_path)
    many = [record(f"req_{number}") for number in range(10)]
    for one in many:
        made.append(one)
    batches = made.cut()
    assert made.cut() == []
    assert len(batches) > 1
    assert [one for batch in batches for one in batch.records] == many
    for batch in batches:
        assert batch.path is not None
        assert (batch.path.stem, list(segments.read(batch.path))) == (batch.id, batch.records)
        batch.close_file()
        assert batch.path.stat().st_size == batch.used, "what a file does not need is given back"
    assert [batch.id for batch in segments.left_behind(tmp_path)] == sorted(batch.id for batch in batches)


async def test_records_refused_by_the_ledger_wait_in_their_files(journal: Journal, ledger: MemoryLedger, tmp_path: Path) -> None:
    ledger.away = True
    journal.finish(record("req_1"))
    assert not await journal.flush()
    journal.finish(record("req_2"))
    assert not await journal.flush()
    assert len(files(tmp_path)) == journal.backlog == 2
    ledger.away = False
    assert await journal.flush()
    assert ledger.records == [record("req_1"), record("req_2")]
    assert files(tmp_path) == []


async def test_two_flushes_beside_each_other_hand_over_everything_once(journal: Journal, ledger: MemoryLedger) -> None:
    for number in range(4):
        journal.finish(record(f"req_{number}"))
        flushes = [asyncio.ensure_future(journal.flush()) for _ in range(2)]
        journal.finish(record(f"late_{number}"))
        await asyncio.gather(*flushes)
    assert await journal.flush()
    assert len({one.request_id for one in ledger.records}) == len(ledger.records) == journal.written == 8


async def test_a_batch_that_the_ledger_refuses_is_not_in_the_way(journal: Journal, ledger: MemoryLedger, tmp_path: Path) -> None:
    ledger.refuses = "req_1"
    journal.finish(record("req_1"))
    (refused,) = files(tmp_path)
    assert await journal.flush()
    journal.finish(record("req_2"))
    assert await journal.flush()
    assert ledger.records == [record("req_2")]
    assert files(tmp_path) == [refused]


async def test_a_full_disk_is_remembered_and_nothing_is_lost(journal: Journal, ledger: MemoryLedger, tmp_path: Path) -> None:
    many = [record(f"req_{number}") for number in range(5)]
    with full_disk():
        for one in many:
            journal.finish(one)
    assert journal.failing
    ledger.away = True
    assert not await journal.flush()
    ledger.away = False
    assert await journal.flush()
    assert ledger.records == many
    assert not journal.failing


async def test_a_disk_with_room_again_is_used_again(journal: Journal, tmp_path: Path) -> None:
    with full_disk():
        journal.finish(record("req_1"))
    journal.finish(record("req_2"))
    assert (journal.failing, files(tmp_path)) == (True, [])  # not asked again for every request
    await journal.flush()
    # Without another request: none may come to a gateway that says it is not ready.
    assert not journal.failing
    journal.finish(record("req_3"))
    assert len(files(tmp_path)) == 1


async def test_a_torn_line_is_left_out(tmp_path: Path, ledger: MemoryLedger) -> None:
    made = Segments(segment_bytes=10_000)
    made.open(tmp_path / "0")
    (tmp_path / "0").mkdir()
    made.append(record("req_1"))
    made.append(record("req_2"))
    (batch,) = made.cut()
    assert batch.path is not None
    batch.close_file()
    batch.path.write_bytes(batch.path.read_bytes()[:-40] + bytes(100))
    journal = Journal(tmp_path, ledger, slots_per_file=4, flush_seconds=60)
    journal.open(same)
    await journal.close()
    assert ledger.batches == {batch.id: [record("req_1")]}


async def test_a_batch_that_is_large_enough_does_not_wait_for_its_time(tmp_path: Path, ledger: MemoryLedger) -> None:
    journal = Journal(tmp_path, ledger, slots_per_file=4, flush_seconds=60)
    journal.open(same)
    journal.start()
    await asyncio.sleep(0)  # the first flush finds nothing
    for number in range(999):
        journal.finish(record(f"req_{number}"))
    await settled()
    assert ledger.records == []
    journal.finish(record("req_999"))
    await settled()
    assert len(ledger.records) == journal.written == 1000
    # And so does the next.
    for number in range(1000, 2000):
        journal.finish(record(f"req_{number}"))
    await settled()
    assert journal.written == 2000
    await journal.close()


async def test_full_batches_are_not_sent_while_the_ledger_is_unavailable(tmp_path: Path, ledger: MemoryLedger) -> None:
    journal = Journal(tmp_path, ledger, slots_per_file=4, flush_seconds=60)
    journal.open(same)
    journal.start()
    await asyncio.sleep(0)
    ledger.away = True
    for number in range(3000):
        journal.finish(record(f"req_{number}"))
        if number % 1000 == 999:
            await settled()
    assert journal.backlog == 1
    ledger.away = False
    await journal.close()
    assert len(ledger.records) == 3000


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)
