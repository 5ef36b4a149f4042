"""What a page shows as output is what its command prints: lines that are left out are marked with `...`."""

from pathlib import Path

import pytest

from tests.support.doc_blocks import Block
from tests.support.doc_runner import BlockFailed, check_output

OUTPUT = "id name\n\n1  one\n2  two\n3  three\n"


def _block(code: str) -> Block:
    return Block(Path(__file__), 1, "text", {}, code)


@pytest.mark.parametrize("shown", ["id name\n1 one\n2 two", "2 two", "id ...\n...\n3 three", "...\n2 t...\n3 three\n..."])
def test_lines_in_order_with_marked_gaps_are_accepted(shown: str) -> None:
    check_output(_block(shown), OUTPUT)


@pytest.mark.parametrize("shown", ["id name\n2 two", "1 one\n3 three", "2 two\n...\n1 one", "4 four"])
def test_an_unmarked_gap_or_a_line_that_is_not_printed_is_refused(shown: str) -> None:
    with pytest.raises(BlockFailed, match="not printed"):
        check_output(_block(shown), OUTPUT)
