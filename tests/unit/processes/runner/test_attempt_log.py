"""What is kept of much output."""

import pytest

from penstock.processes.runner.child_output import AttemptLog


@pytest.mark.parametrize(
    ("pieces", "text", "left_out"),
    [
        ([b"abc", b"de"], "abcde", 0),
        ([b"0123456789"], "0123456789", 0),
        ([b"0123456789a"], "01234\n... 1 bytes left out ...\n6789a", 1),
        ([b"01", b"23456", b"789abcdef"], "01234\n... 6 bytes left out ...\nbcdef", 6),
        ([b"a\0b"], "a\ufffdb", 0),
        (["äöüäöüäöü".encode()], "äö\n... 8 bytes left out ...\nöü", 8),
        ([b"\xff"], "\ufffd", 0),
    ],
    ids=["two pieces", "full", "one over", "many over", "nul", "cut letters", "no utf-8"],
)
def test_beginning_and_end_are_kept(pieces: list[bytes], text: str, left_out: int) -> None:
    log = AttemptLog(10)
    for piece in pieces:
        log.add(piece)
    assert (log.text, log.left_out_bytes) == (text, left_out)


def test_limit_of_nothing_keeps_nothing() -> None:
    log = AttemptLog(0)
    log.add(b"abc")
    assert (log.text, log.left_out_bytes) == ("", 0)
