"""The Range header (RFC 9110, 14.1): one range of bytes, or the whole file."""

import pytest

from penstock.domain.errors import RangeNotSatisfiable
from penstock.edge.openai.byte_range import asked_range


@pytest.mark.parametrize(
    ("header", "range_"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=2-4", (2, 3)),
        ("bytes=9-9", (9, 1)),
        ("bytes=5-", (5, 5)),
        ("bytes=5-100", (5, 5)),
        ("bytes=-3", (7, 3)),
        ("bytes=-100", (0, 10)),
        ("bytes = 2 - 4", (2, 3)),
    ],
)
def test_single_range_is_start_and_length(header: str, range_: tuple[int, int]) -> None:
    assert asked_range(header, 10) == range_


@pytest.mark.parametrize(
    "header", [None, "", "bytes=-", "bytes=", "bytes=4-2", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=0-" + "9" * 19]
)
def test_header_that_is_not_one_range_asks_for_everything(header: str | None) -> None:
    assert asked_range(header, 10) is None


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-0", 0), ("bytes=-1", 0)])
def test_range_outside_the_file_is_refused_with_its_size(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable, match=f"{size} bytes"):
        asked_range(header, size)
