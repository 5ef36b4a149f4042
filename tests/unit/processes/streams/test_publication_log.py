"""What was published stays known, wherever the process was cut off."""

from pathlib import Path

import pytest

from penstock.processes.streams.publication_log import PublicationLog, PublicationLogInUse

WINDOW_SECONDS = 100.0


def opened(directory: Path) -> PublicationLog:
    publication_log = PublicationLog(directory, WINDOW_SECONDS)
    publication_log.open()
    return publication_log


def test_log_is_read_again_after_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path / "state")
    first.append([(1000.25, "a"), (1001.5, "b")])
    first.append((), position=1200.0)
    first.append([(1150.0, "late")])
    first.close()
    again = opened(tmp_path / "state")
    assert (again.position, "late" in again, "a" in again) == (1200.0, True, False)
    again.close()


@pytest.mark.parametrize("cut", range(1, 14))
def test_truncated_line_is_ignored(tmp_path: Path, cut: int) -> None:
    first = opened(tmp_path)
    first.append([(1000.0, "a")])
    first.append([(1001.0, "second")])
    first.close()
    file = tmp_path / "published"
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    again = opened(tmp_path)
    assert ("a" in again, "second" in again, again.position) == (True, False, 1000.0)
    again.append([(1001.0, "second")])
    again.close()
    last = opened(tmp_path)
    assert ("a" in last, "second" in last) == (True, True)
    last.close()


def test_log_is_compacted_when_it_has_grown(tmp_path: Path) -> None:
    publication_log = opened(tmp_path)
    for second in range(300):
        publication_log.append([(float(second), f"{second}-{n}") for n in range(200)])
    assert ("299-1" in publication_log, "0-1" in publication_log) == (True, False)
    publication_log.close()
    assert len((tmp_path / "published").read_bytes().splitlines()) <= 2 * 100 * 200 + 20_000 + 200
    again = opened(tmp_path)
    assert ("299-1" in again, "199-0" in again, again.position) == (True, True, 299.0)
    again.close()


def test_position_may_go_back(tmp_path: Path) -> None:
    publication_log = opened(tmp_path)
    publication_log.append([(5000.0, "before the clock was set")])
    publication_log.append((), position=1000.0)
    publication_log.close()
    again = opened(tmp_path)
    assert again.position == 1000.0
    again.close()


def test_second_process_is_refused_the_directory(tmp_path: Path) -> None:
    publication_log = opened(tmp_path)
    with pytest.raises(PublicationLogInUse, match="of its own"):
        opened(tmp_path)
    publication_log.close()
    opened(tmp_path).close()
