"""Text from outside, fit for every store."""

import pytest

from penstock.domain.text import storable


@pytest.mark.parametrize(
    ("given", "expected"),
    [("plain ä 漢", "plain ä 漢"), ("a\0b\0", "a\ufffdb\ufffd"), ("x\udc80y", "x\ufffdy"), ("\ud83d\ude00", "😀"), ("", "")],
    ids=["plain", "nul", "lone half", "pair", "empty"],
)
def test_nul_and_lone_surrogates_are_replaced(given: str, expected: str) -> None:
    assert storable(given) == expected
