"""A damaged disk: what can be read reaches the ledger, what cannot is kept and counted, and no wrong number is taken for a right one."""

import asyncio
import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from penstock.domain.usage import Outcome, UsageRecord
from penstock.storage.journal import segments, slots
from penstock.storage.journal.journal import Journal
from penstock.storage.journal.slots import StreamSlots
from tests.unit.storage.journal.ledger import MemoryLedger, record, same


def new(directory: Path, ledger: MemoryLedger) -> Journal:
    return Journal(directory, ledger, slots_per_file=4, flush_seconds=0.01, segment_bytes=100_000)


async def left_by_a_process(directory: Path, *records: UsageRecord) -> Path:
    """The file of a journal whose ledger was away."""
    ledger = MemoryLedger()
    ledger.away = True
    journal = new(directory, ledger)
    journal.open(same)
    for one in records:
        journal.finish(one)
    await journal.close()
    return segment_in(directory)


def segment_in(directory: Path) -> Path:
    (path,) = directory.rglob("seg_*.jsonl")
    return path


def flips(content: bytes, limit: int | None = None) -> list[bytes]:
    """The content with one wrong bit, each bit in turn."""
    found = []
    for bit in range(8 * (limit or len(content))):
        wrong = bytearray(content)
        wrong[bit // 8] ^= 1 << bit % 8
        found.append(bytes(wrong))
    return found


# segments


async def test_a_line_that_is_no_utf8_is_set_aside_and_the_rest_is_billed(tmp_path: Path) -> None:
    three = [record(f"req_{number}", number) for number in range(3)]
    path = await left_by_a_process(tmp_path, *three)
    path.write_bytes(path.read_bytes().replace("modèle".encode(), b"mod\xff\xffle", 1))
    ledger = MemoryLedger()
    journal = new(tmp_path, ledger)
    journal.open(same)
    journal.start()
    await journal.flushed.until(lambda: ledger.records)
    journal.finish(record("req_later", 9))
    assert await journal.flush()
    assert journal.stalled() == ""
    await journal.close()
    assert [one.request_id for one in ledger.records] == ["req_1", "req_2", "req_later"]
    assert journal.damaged == 1
    assert [each.name for each in (path.parent / "damaged").iterdir()] == [path.name]
    assert not path.exists()


async def test_any_wrong_bit_of_a_segment_loses_its_line_and_is_noticed(tmp_path: Path) -> None:
    two = [record("req_1", 123), record("req_2", 456)]
    path = await left_by_a_process(tmp_path, *two)
    content = path.read_bytes().rstrip(b"\0")
    assert list(segments.read(path)) == two
    for number, wrong in enumerate(flips(content)):
        path.write_bytes(wrong)
        found = list(segments.read(path))
        kept = [one for one in found if one is not None]
        assert all(one in two for one in kept), f"bit {number} made another record"
        assert len(kept) == 2 or None in found or number // 8 >= content.index(b"\n"), f"bit {number} lost a record unnoticed"


def test_a_segment_without_checksums_is_read(tmp_path: Path) -> None:
    two = [record("req_1", 1), record("req_2", 2)]
    path = tmp_path / "seg_old.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in two) + bytes(100))
    assert list(segments.read(path)) == two


@pytest.mark.parametrize("kept", [0.3, 0.9])
async def test_a_line_that_was_being_written_is_no_damage(tmp_path: Path, kept: float) -> None:
    path = await left_by_a_process(tmp_path, record("req_1", 1), record("req_2", 2))
    lines = path.read_bytes().rstrip(b"\0").splitlines(keepends=True)
    torn = int(len(lines[1]) * kept)
    path.write_bytes(lines[0] + lines[1][:torn] + bytes(1000))
    assert list(segments.read(path)) == [record("req_1", 1)]
    path.write_bytes(lines[0] + bytes(torn) + lines[1][torn:] + bytes(1000))
    assert list(segments.read(path)) == [record("req_1", 1)]


async def test_a_file_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "0" / "seg_a.jsonl").mkdir(parents=True)
    ledger = MemoryLedger()
    journal = new(tmp_path, ledger)
    journal.open(same)
    journal.finish(record("req_1", 1))
    assert await journal.flush()
    await journal.close()
    assert [one.request_id for one in ledger.records] == ["req_1"]
    assert (journal.damaged, (tmp_path / "0" / "damaged" / "seg_a.jsonl").is_dir()) == (1, True)


# slots


def slots_file(directory: Path, *counts: Sequence[int]) -> Path:
    """A stream for each sequence, whose count took these values one after the other."""
    streams = StreamSlots(len(counts) + 1)
    streams.open(directory)
    for number, values in enumerate(counts):
        slot = streams.take()
        slot.fill(record(f"req_{number}", 0, Outcome.RECOVERED))
        for value in values:
            slot.update(10, value)
    streams.close()
    (path,) = slots.files(directory)
    return path


def read_back(path: Path, content: bytes) -> tuple[dict[str, int], int, str]:
    records, lost, reason = slots.left_behind(path, content)
    return {one.request_id: one.completion_tokens for one in records}, lost, reason


def test_any_wrong_bit_of_a_slot_gives_the_last_two_counts_or_is_noticed(tmp_path: Path) -> None:
    path = slots_file(tmp_path, [7, 300])
    content = path.read_bytes()
    assert read_back(path, content) == ({"req_0": 300}, 0, "")
    first = slots.SLOT_BYTES
    for number, wrong in enumerate(flips(content[first : 2 * first])):
        found, lost, reason = read_back(path, content[:first] + wrong + content[2 * first :])
        assert (found in ({"req_0": 300}, {"req_0": 7}) and not reason) or (found == {} and lost == 1 and reason), f"bit {number}"


def test_any_wrong_bit_of_the_head_is_noticed_and_loses_no_stream(tmp_path: Path) -> None:
    path = slots_file(tmp_path, [7])
    content = path.read_bytes()
    for wrong in flips(content, 16):
        found, lost, reason = read_back(path, wrong)
        assert (found, lost) == ({"req_0": 7}, 0)
        assert reason


def test_a_torn_update_gives_the_count_before_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    before, after = slots_file(tmp_path / "a", [7]), slots_file(tmp_path / "b", [7, 70_000])
    old, new_content = before.read_bytes(), after.read_bytes()
    changed = [at for at in range(len(old)) if old[at] != new_content[at]]
    found = []
    for end in changed:
        found.append(read_back(before, new_content[:end] + old[end:])[0]["req_0"])
        found.append(read_back(before, old[:end] + new_content[end:])[0]["req_0"])
    assert set(found) == {7, 70_000}


@pytest.mark.parametrize("size", [0, 100, 1024, 2048, 2500, 4095])
async def test_a_file_that_lost_its_end_is_kept_and_told(tmp_path: Path, size: int) -> None:
    (tmp_path / "0").mkdir()
    path = slots_file(tmp_path / "0", [7], [8])
    path.write_bytes(path.read_bytes()[:size])
    journal = new(tmp_path, MemoryLedger())
    cut = journal.open(same)
    await journal.close()
    assert cut == (0 if size < 2048 else 1 if size < 2500 else 2)
    (kept,) = (tmp_path / "0" / "damaged").iterdir()
    assert kept.stat().st_size == size


def test_slots_of_the_version_before_are_read(tmp_path: Path) -> None:
    text = msgspec.json.encode(record("req_1", 0))
    slot = b"\1" + struct.pack("<IIIIB", 10, 77, 3, 2, 1)
    slot = slot.ljust(22, b"\0") + struct.pack("<H", len(text)) + text
    wrong = bytearray(slot)
    wrong[60] = 0xFF
    content = slot.ljust(1024, b"\0") + bytes(wrong).ljust(1024, b"\0") + bytes(1024)
    records, lost, reason = slots.left_behind(tmp_path / "slots-000.mmap", content)
    (found,) = records
    assert (found.request_id, found.prompt_tokens, found.completion_tokens, found.estimated, lost) == ("req_1", 10, 77, True, 1)
    assert reason


def test_the_longest_names_do_not_reach_the_next_slot(tmp_path: Path) -> None:
    streams = StreamSlots(2)
    streams.open(tmp_path)
    second, first = streams.take(), streams.take()
    for slot, name in ((first, "req_1"), (second, "req_2")):
        slot.fill(msgspec.structs.replace(record(name, 5), model="\N{GRINNING FACE}" * 300, client_request_id="c" * 500))
    streams.close()
    (path,) = slots.files(tmp_path)
    assert read_back(path, path.read_bytes()) == ({"req_1": 5, "req_2": 5}, 0, "")


# the way to the ledger


class BrokenLedger(MemoryLedger):
    """Ends the task that moves records, as an error of our own would."""

    async def append(self, batch_id: str, records: Sequence[UsageRecord]) -> bool:
        raise asyncio.CancelledError


async def test_a_drain_that_has_ended_is_told(tmp_path: Path) -> None:
    journal = new(tmp_path, BrokenLedger())
    journal.open(same)
    journal.start()
    assert journal.stalled() == ""
    journal.finish(record("req_1", 1))
    assert journal._task is not None
    await asyncio.wait([journal._task], timeout=5)
    assert journal.stalled() == "the task that moves them has ended"
    journal._ledger = ledger = MemoryLedger()
    await journal.close()
    assert [one.request_id for one in ledger.records] == ["req_1"]


async def test_a_flush_that_fails_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = MemoryLedger()
    journal = new(tmp_path, ledger)
    journal.open(same)
    broken = True

    def discard(batch: object) -> None:
        if broken:
            raise OSError("the disk is gone")

    monkeypatch.setattr(journal._segments, "discard", discard)
    monkeypatch.setattr("penstock.storage.journal.journal._RETRY_SECONDS", 0.01)
    journal.finish(record("req_1", 1))
    journal.start()
    await journal.flushed.until(journal.stalled)
    assert journal.stalled() == "OSError: the disk is gone"
    broken = False
    await journal.flushed.until(lambda: not journal.stalled())
    await journal.close()
    assert [one.request_id for one in ledger.records] == ["req_1"]


async def test_records_that_the_ledger_refuses_are_counted(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    ledger.refuses = "req_1"
    journal = new(tmp_path, ledger)
    journal.open(same)
    journal.finish(record("req_1", 1))
    assert await journal.flush()
    assert journal.refused == 1
    await journal.close()
