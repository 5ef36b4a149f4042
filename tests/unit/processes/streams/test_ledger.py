"""What was published stays known, wherever the process was cut off."""

from pathlib import Path

import pytest

from penstock.processes.streams.ledger import Ledger, LedgerInUse

WINDOW_SECONDS = 100.0


def opened(directory: Path) -> Ledger:
    ledger = Ledger(directory, WINDOW_SECONDS)
    ledger.open()
    return ledger


def test_it_is_read_again(tmp_path: Path) -> None:
    first = opened(tmp_path / "state")
    first.note([(1000.25, "a"), (1001.5, "b")])
    first.note((), place=1200.0)
    first.note([(1150.0, "late")])
    first.close()
    again = opened(tmp_path / "state")
    assert (again.place, "late" in again, "a" in again) == (1200.0, True, False)
    again.close()


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_line_that_was_cut_short_is_none(tmp_path: Path, cut: int) -> None:
    first = opened(tmp_path)
    first.note([(1000.0, "a")])
    first.note([(1001.0, "second")])
    first.close()
    file = tmp_path / "published"
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    again = opened(tmp_path)
    assert ("a" in again, "second" in again, again.place) == (True, False, 1000.0)
    again.note([(1001.0, "second")])
    again.close()
    last = opened(tmp_path)
    assert ("a" in last, "second" in last) == (True, True)
    last.close()


def test_it_does_not_grow_for_ever(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    for second in range(300):
        ledger.note([(float(second), f"{second}-{n}") for n in range(200)])
    assert ("299-1" in ledger, "0-1" in ledger) == (True, False)
    ledger.close()
    assert len((tmp_path / "published").read_bytes().splitlines()) <= 2 * 100 * 200 + 20_000 + 200
    again = opened(tmp_path)
    assert ("299-1" in again, "199-0" in again, again.place) == (True, True, 299.0)
    again.close()


def test_a_place_may_go_back(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.note([(5000.0, "before the clock was set")])
    ledger.note((), place=1000.0)
    ledger.close()
    again = opened(tmp_path)
    assert again.place == 1000.0
    again.close()


def test_two_processes_do_not_share_it(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    with pytest.raises(LedgerInUse, match="of its own"):
        opened(tmp_path)
    ledger.close()
    opened(tmp_path).close()
