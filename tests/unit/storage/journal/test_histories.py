"""The journal over whole lives: random histories, kill -9, a full disk. Every token that was noted reaches the ledger, once."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from penstock.observe import logs
from penstock.storage.journal import segments
from penstock.storage.journal.journal import Journal
from penstock.storage.journal.slots import Slot
from tests.unit.storage.journal.forgetful_ledger import ForgetfulLedger, begun, opened
from tests.unit.storage.journal.ledger import record


async def after_a_crash(directory: Path, ledger: ForgetfulLedger, target: Path) -> dict[str, tuple[str, int]]:
    """What the ledger has after a restart, had the process died now. The directory is copied: its owner lives on."""
    shutil.copytree(directory, target)
    survivor = ForgetfulLedger(ledger.batches)
    for _ in range(2):  # what was recovered once must not be recovered again
        await opened(target, survivor).close()
    return survivor.counted()


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    """A logger that a full disk does not stop, as in production."""
    logs.configure("critical", "json")


@pytest.fixture
def ledger() -> ForgetfulLedger:
    return ForgetfulLedger()


@pytest.fixture
async def journal(tmp_path: Path, ledger: ForgetfulLedger) -> AsyncIterator[Journal]:
    one = opened(tmp_path / "journal", ledger)
    yield one
    await one.close()


@pytest.mark.parametrize("seed", range(30))
async def test_any_history_and_a_crash_at_its_end(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    ledger, source = ForgetfulLedger(), tmp_path / "journal"
    journal = opened(source, ledger, slots=2)
    running: dict[str, tuple[Slot, int]] = {}
    expected: dict[str, tuple[str, int]] = {}
    for number in range(random.randrange(60)):
        step = random.choice(["begin", "begin", "update", "update", "finish", "unary", "flush", "away"])
        name = f"r{number}"
        if step == "begin":
            running[name] = (begun(journal, name), 1)
        elif step == "update" and running:
            name = random.choice(list(running))
            slot, tokens = running[name]
            slot.update(3, tokens + 1)
            running[name] = (slot, tokens + 1)
        elif step == "finish" and running:
            name = random.choice(list(running))
            slot, tokens = running.pop(name)
            journal.finish(record(name, tokens))
            expected[name] = ("completed", tokens)
            slot.clear()
        elif step == "unary":
            journal.finish(record(name, 9))
            expected[name] = ("completed", 9)
        elif step == "flush":
            await journal.flush()
        elif step == "away":
            ledger.away, ledger.answer_lost = random.choice([(False, False), (True, False), (False, True)])
    if running and random.random() < 0.5:
        # The last thing that it ever did: the record is written, the slot is not cleared.
        name, (_, tokens) = running.popitem()
        journal.finish(record(name, tokens))
        expected[name] = ("completed", tokens)
    expected |= {name: ("recovered", tokens) for name, (_, tokens) in running.items()}
    assert await after_a_crash(source, ledger, tmp_path / "crash") == expected
    ledger.away = ledger.answer_lost = False
    await journal.close()
    assert {name: value for name, value in expected.items() if value[0] == "completed"} == ledger.counted()


async def test_slots_grow_and_all_of_them_survive(tmp_path: Path, journal: Journal, ledger: ForgetfulLedger) -> None:
    slots = [begun(journal, f"r{number}") for number in range(50)]
    for tokens, slot in enumerate(slots):
        slot.update(3, tokens)
    assert await after_a_crash(tmp_path / "journal", ledger, tmp_path / "crash") == {f"r{n}": ("recovered", n) for n in range(50)}
    files = len(list((tmp_path / "journal").rglob("slots-*")))
    for slot in slots:
        slot.clear()
    again = [begun(journal, f"s{number}") for number in range(50)]
    assert len(list((tmp_path / "journal").rglob("slots-*"))) == files
    for slot in again:
        slot.clear()


async def test_long_names_fit_a_slot(tmp_path: Path, journal: Journal, ledger: ForgetfulLedger) -> None:
    long = replace(record("r1", 4), client_request_id="c" * 128, model="m" * 256, key_id="k" * 40, org_id="o" * 40)
    slot = journal.begin(long)
    assert slot is not None
    assert await after_a_crash(tmp_path / "journal", ledger, tmp_path / "crash") == {"r1": ("recovered", 4)}


async def test_many_records_fill_many_files(tmp_path: Path, journal: Journal, ledger: ForgetfulLedger) -> None:
    ledger.away = True
    for number in range(200):
        journal.finish(record(f"r{number}", number))
    assert not await journal.flush()
    assert len(list((tmp_path / "journal").rglob("seg_*"))) > 3
    assert len(await after_a_crash(tmp_path / "journal", ledger, tmp_path / "crash")) == 200
    ledger.away = False
    assert await journal.flush()
    assert ledger.counted() == {f"r{number}": ("completed", number) for number in range(200)}
    assert not list((tmp_path / "journal").rglob("seg_*"))


async def test_the_files_hold_what_memory_forgets(
    tmp_path: Path, journal: Journal, ledger: ForgetfulLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.storage.journal.journal._MOST_RECORDS_IN_MEMORY", 20)
    ledger.away = True
    for number in range(100):
        journal.finish(record(f"r{number}", number))
        await journal.flush()
    assert sum(len(batch.records) for batch in journal._waiting) <= 40
    ledger.away = False
    assert await journal.flush()
    assert len(ledger.counted()) == 100


# --- a full disk -------------------------------------------------------------------------------------------------------


@contextmanager
def no_room() -> Iterator[None]:
    """Files of this process cannot grow, as on a full disk. Not a fixture: pytest's own output may be a file as well."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def test_a_full_disk_loses_nothing_while_the_process_lives(journal: Journal, ledger: ForgetfulLedger) -> None:
    with no_room():
        for number in range(10):
            journal.finish(record(f"r{number}"))
        failing = journal.failing
        slot = journal.begin(record("s0"))
        for number in range(10):
            journal.begin(record(f"s{number + 1}"))
        flushed = await journal.flush()
    assert failing
    assert slot is not None, "the slots are there already"
    assert flushed
    assert len(ledger.counted()) == 10


# --- kill -9 ------------------------------------------------------------------------------------------------------------

VICTIM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.storage.journal.forgetful_ledger import ForgetfulLedger, begun, opened
from tests.unit.storage.journal.ledger import record
journal = opened(Path(sys.argv[1]), ForgetfulLedger())
number = 0
while True:
    slot = begun(journal, f"r{number}")
    for tokens in range(2, 20):
        slot.update(3, tokens)
        print(f"r{number} {tokens}", flush=tokens % 5 == 0)
    journal.finish(record(f"r{number}", 20))
    print(f"r{number} 20", flush=True)
    slot.clear()
    number += 1
"""


def _until_killed(directory: Path, lines: int) -> list[str]:
    """What a process that uses the journal said until it was killed, after so many lines."""
    command = [sys.executable, "-c", VICTIM, str(directory), str(Path(__file__).parents[4])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        said = [victim.stdout.readline() for _ in range(lines)]
        victim.send_signal(signal.SIGKILL)
        return said + victim.stdout.readlines()


@pytest.mark.slow
async def test_kill_9_in_the_middle_of_it(tmp_path: Path, ledger: ForgetfulLedger) -> None:
    """What the process said was noted before it said so."""
    for lines in (7, 40, 500):
        directory = tmp_path / str(lines)
        said = _until_killed(directory, lines)
        told: dict[str, int] = {}
        for line in said:
            name, tokens = line.split()
            told[name] = int(tokens)
        ledger.batches.clear()
        await opened(directory, ledger).close()
        counted = ledger.counted()
        assert all(counted[name][1] >= tokens for name, tokens in told.items())
        whole = {name for name, tokens in told.items() if tokens == 20}
        assert all(counted[name] == ("completed", 20) for name in whole)


def test_reading_a_file_of_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "seg_x.jsonl"
    path.write_bytes(os.urandom(10_000) + b"\n" + b"{}\n" * 3)
    assert set(segments.read(path)) == {None}
